"""The ASGI application: finds route and actor, reads the body within its bound, hands over. No payload logic.

Constructing a bridge does no I/O and binds no loop; `async with bridge` starts and ends it. A mounted application
gets no lifespan of its own, so the host's lifespan does that; a request before it is a 503. What a bridge goes by may be
exchanged while it runs: a request takes one configuration, and keeps it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, Unpack

from aibridge import failures
from aibridge.asked import Asked, telling
from aibridge.asking.states import ProviderStates, Surroundings
from aibridge.clock import SystemClock, new_id
from aibridge.configuration import MAX_BODY, Configuration, LiveSettings
from aibridge.credentials import Scrubber
from aibridge.dialects.base import Dialect
from aibridge.dialects.messages import MESSAGES
from aibridge.errors import AnswerBroken, Problem, RecordingFailed, Refused
from aibridge.interception_ports import Ports
from aibridge.interceptor import Interception
from aibridge.model_names import ModelRules
from aibridge.offers import Offering
from aibridge.passthrough import PassthroughRequest, pass_through
from aibridge.ports import (
    Authenticator,
    Clock,
    ConversationStore,
    Identity,
    Ids,
    Observer,
    Recorder,
    Toolbox,
    Tracing,
    Upstream,
)
from aibridge.providers.base import Provider
from aibridge.providers.headers import NOSNIFF, request_ids
from aibridge.reply_writer import Interrupted, Interruption, Receive, ReplyWriter, Send
from aibridge.request_body import ClientLeft, coding_of, decoded, read_body
from aibridge.routes import NoRoute, Route, RouteTable, raw_path_of
from aibridge.running import Run, Runs, watched
from aibridge.scope_authenticator import ScopeAuthenticator
from aibridge.stores.conversations import MemoryConversationStore
from aibridge.tool_settings import ToolSettings
from aibridge.unobserved import UNOBSERVED
from aibridge.upstream import HttpUpstream
from aibridge.websockets import refuse_websocket

_LOG = logging.getLogger("aibridge")
_MOUNTED_PREFIXES = ("",)
_UNTRACED = nullcontext()


class RequestBridge:
    """Stands between clients and providers, and records what passes.

    Args:
        providers: the upstreams by name; names must differ.
        recorder: keeps the records.
        authenticator: finds the actor; by default the one that the host set with `set_actor`.
        upstream: the way out; by default our own HTTP/1.1 client, closed with the bridge.
        conversations: owners of what providers store, and what clients did not see of their replies; by default in
            memory, which a restart forgets.
        observer: told what no record says: what is in flight, refused, passed through.
        tracing: follows each request as a tree of spans (`aibridge.tracing.Tracing`).
        toolbox: lists and runs injected tools; without one no request carries any.
        models: who may ask for which; without them everybody for every one.
        tools: how far an inner loop may go, and what clients may bring themselves.
        clock, ids: time and identifiers, as arguments.
        attribution_key: key of the hashed identifiers of people (`upstream_user="hash"`, or too long a value).
            The same key gives the same identifiers; by default one is made, so they change with each start.
        prefixes: what may stand before `/<provider>/...` in paths.
        max_body: the largest request body, in bytes, encoded and decoded.
        max_concurrency: how many requests may run at once; 0 for no limit.
        on_disconnect: when a client hangs up, `cancel` the upstream, or `drain` it for exact usage.
        drain_reading: how long `drain` reads on, in seconds.
        closing: how long leaving the block waits for what it has ended, before it cancels it, in seconds.
        states: what is known of keys and circuits; a host that makes a new bridge hands the old one's on.
        fail: `closed` answers 503 when a record cannot be kept, `usage-only` does without content, `open` serves on.

    Raises:
        ValueError: a setting cannot be.
    """

    def __init__(
        self,
        *,
        providers: Sequence[Provider],
        recorder: Recorder,
        authenticator: Authenticator | None = None,
        upstream: Upstream | None = None,
        conversations: ConversationStore | None = None,
        observer: Observer = UNOBSERVED,
        tracing: Tracing | None = None,
        states: ProviderStates | None = None,
        toolbox: Toolbox | None = None,
        tools: ToolSettings | None = None,
        models: ModelRules | None = None,
        clock: Clock | None = None,
        ids: Ids = new_id,
        attribution_key: bytes | None = None,
        prefixes: Sequence[str] = _MOUNTED_PREFIXES,
        max_body: int = MAX_BODY,
        max_concurrency: int = 0,
        on_disconnect: Literal["cancel", "drain"] = "cancel",
        drain_reading: float = 30.0,
        closing: float = 15.0,  # 10 for records, 5 for the client to take what went wrong
        fail: Literal["closed", "usage-only", "open"] = "closed",
    ) -> None:
        self._authenticator = authenticator or ScopeAuthenticator()
        self._upstream = upstream or HttpUpstream()
        self._tracing = tracing
        if tracing is not None:
            self._upstream, recorder = tracing.asking(self._upstream), tracing.recording(recorder)
        clock = clock or SystemClock()
        self.states = states or ProviderStates()
        """What is known of the providers from the requests before."""
        self._around = Surroundings(clock=clock, observer=observer, randomness=random.random, pause=asyncio.sleep)
        self._prefixes = tuple(prefixes)
        self._fixed = Ports(
            upstream=self._upstream,
            recorder=recorder,
            conversations=conversations or MemoryConversationStore(),
            clock=clock,
            ids=ids,
            scrubber=Scrubber(()),
            attribution_key=attribution_key or secrets.token_bytes(32),
            observer=observer,
            states=self.states,
        )
        asked = LiveSettings(providers=providers, toolbox=toolbox, tools=tools or ToolSettings(), models=models)
        bounds = LiveSettings(max_body=max_body, max_concurrency=max_concurrency, drain_reading=drain_reading)
        self._live: LiveSettings = {**asked, **bounds, "on_disconnect": on_disconnect, "fail": fail}
        self._configuration = self._configured(self._live)
        self._closing = closing
        self._runs = Runs()

    # -- configuration ---------------------------------------------------------------------------------

    def reconfigure(self, **changes: Unpack[LiveSettings]) -> None:
        """From now on requests go by these settings; what is not named stays. Those that run go on as they began.

        What is known of circuits and keys stays, by the provider's name and the key. To be called in the bridge's loop.

        Raises: ValueError, when a setting cannot be; then nothing has changed.
        """
        live: LiveSettings = {**self._live, **changes}
        self._configuration = self._configured(live)
        self._live = live

    @property
    def providers(self) -> Sequence[Provider]:
        """Those that new requests reach."""
        return self._live["providers"]

    def _configured(self, live: LiveSettings) -> Configuration:
        providers, toolbox = live["providers"], live["toolbox"]
        routes = RouteTable(providers, prefixes=self._prefixes)
        self.states.adopt(providers, self._around)
        if toolbox is not None and self._tracing is not None:
            toolbox = self._tracing.calling(toolbox)
        ports = replace(
            self._fixed,
            offering=Offering(toolbox, live["tools"], self._fixed.conversations),
            scrubber=Scrubber(secret for provider in providers for secret in provider.secrets),
            models=live["models"],
            fail=live["fail"],
        )
        return Configuration(
            routes=routes,
            ports=ports,
            max_body=live["max_body"],
            max_concurrency=live["max_concurrency"],
            reads_on=live["drain_reading"] if live["on_disconnect"] == "drain" else None,
        )

    # -- life ------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._runs.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runs.close(within=self._closing)
        await self._upstream.close()

    @property
    def in_flight(self) -> int:
        """How many requests are running."""
        return self._runs.count

    def start_draining(self) -> None:
        """From now on new requests are answered 503; those that run go on."""
        self._runs.start_draining()

    async def drained(self) -> None:
        """Returns when no request is running."""
        await self._runs.drained()

    def abort(self) -> None:
        """Ends what is running: each stream with an error in its dialect, each record as `gateway_aborted`."""
        self._runs.abort()

    @property
    def credentials_in_use(self) -> set[str]:
        """The ids of the credentials (`Identity.credential_id`) that let in what is running."""
        return self._runs.credentials

    def abort_credential(self, credential_id: str, why: str = "your credential is no longer valid") -> None:
        """Ends, as `abort` does, what this credential let in: it was revoked, or its owner was. Clients are told `why`."""
        self._runs.abort_credential(credential_id, why)

    # -- requests --------------------------------------------------------------------------------------

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, ReplyWriter(send, scope.get("extensions")))
            case "websocket":
                await refuse_websocket(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)
            case kind:
                raise ValueError(f"unsupported ASGI scope: {kind}")

    async def _http(self, scope: Mapping[str, Any], receive: Receive, writer: ReplyWriter) -> None:
        errors, route, configuration = MESSAGES, None, self._configuration
        try:
            route = configuration.routes.find(scope["method"], raw_path_of(scope))
            if route is None:  # a probe: Claude Code asks so whether anybody is there
                await writer.answer(200, [NOSNIFF], b"")
                return
            errors = route.errors
            run = self._runs.enter(configuration.max_concurrency)
            try:
                await self._routed(configuration, route, scope, receive, writer, run)
            finally:
                self._runs.leave(run)
        except Refused as refused:
            dialect = refused.dialect if isinstance(refused, NoRoute) else None
            await self._refuse(writer, route, dialect or errors, refused.problem)
        except RecordingFailed:
            problem = Problem(503, "this request cannot be recorded at the moment")
            await self._refuse(writer, route, errors, problem)
        except ClientLeft:
            pass
        except AnswerBroken:
            raise
        except Exception:  # noqa: BLE001  the edge of the house: a fault of ours becomes a 500, not a traceback
            request_id = self._fixed.ids()
            _LOG.exception("request failed", extra={"request_id": request_id})
            if writer.ended:
                return
            if writer.status is not None:
                raise AnswerBroken("internal error") from None
            await self._refuse(writer, route, errors, Problem(500, "internal error"), request_id)

    async def _refuse(
        self, writer: ReplyWriter, route: Route | None, errors: Dialect, problem: Problem, request_id: str | None = None
    ) -> None:
        """The answer to a request that leaves no record. Its id is that of a line in the log."""
        request_id = request_id or self._fixed.ids()
        provider_name, template = (None, None) if route is None else (route.provider.name, route.template)
        told = {"request_id": request_id, "http_status": problem.status, "provider": provider_name, "route": template}
        _LOG.debug("request refused", extra=told)
        self._fixed.observer.refused(provider_name, template, problem.status)
        headers = [(b"content-type", b"application/json"), NOSNIFF, *problem.headers, *request_ids(request_id)]
        await writer.answer(problem.status, headers, errors.error_body(problem, request_id))

    async def _routed(
        self,
        configuration: Configuration,
        route: Route,
        scope: Mapping[str, Any],
        receive: Receive,
        writer: ReplyWriter,
        run: Run,
    ) -> None:
        try:
            async with run.interruption:
                identity = await self._authenticator.authenticate(scope)
                run.credential_id = identity.credential_id
                body = await read_body(scope, receive, configuration.max_body)
        except Interrupted as interrupted:
            raise Refused(failures.interrupted("gateway_aborted", interrupted.problem).problem) from None
        dialect = route.rule.dialect
        coding, said = None, telling(identity.headers)
        if dialect is not None or route.rule.adaptation is not None:  # somebody reads it
            coding = coding_of(said)
            if coding is not None:
                body = decoded(coding, body, configuration.max_body)
        method, interruption = scope["method"], run.interruption
        with self._followed(route, method, identity):
            if dialect is None:
                self._fixed.observer.passing(route.provider.name, route.template, method)
                passing = PassthroughRequest(route, method, identity, body, scope, coding is not None)
                work = _pass(configuration.ports, passing, writer, interruption)
                await watched(scope, receive, writer, interruption, work)
            else:
                asked = Asked(route, dialect, identity, said, body, body_was_encoded=coding is not None)
                work = Interception(configuration.ports, asked, writer, interruption).run()
                await watched(scope, receive, writer, interruption, work, reads_on=configuration.reads_on)

    def _followed(self, route: Route, method: str, identity: Identity) -> AbstractContextManager[None]:
        if self._tracing is None:
            return _UNTRACED
        provider, bridged = route.provider, route.bridged
        platform = None if provider.platform is None else provider.platform.name
        follow = self._tracing.following
        return follow(method, provider.name, route.template, identity, bridged=bridged, platform=platform)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        """For servers that run the bridge as their whole application."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.__aenter__()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self.__aexit__(None, None, None)
                await send({"type": "lifespan.shutdown.complete"})
                return


async def _pass(ports: Ports, asked: PassthroughRequest, writer: ReplyWriter, interruption: Interruption) -> None:
    assert ports.offering is not None
    try:
        async with interruption:
            await pass_through(
                asked,
                writer,
                upstream=ports.upstream,
                offering=ports.offering,
                scrubber=ports.scrubber,
                states=ports.states,
            )
    except Interrupted as interrupted:
        if interrupted.reason == "gateway_aborted":
            if writer.status is not None:
                raise AnswerBroken("the gateway ended this request") from None
            raise Refused(failures.interrupted("gateway_aborted", interrupted.problem).problem) from None

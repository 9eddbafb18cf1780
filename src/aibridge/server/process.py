"""One serving process, from open sockets to the last record. Several may share a database; each writes under its own boot."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from aibridge import __version__
from aibridge.bridge import RequestBridge
from aibridge.clock import SystemClock, new_id
from aibridge.credentials import Secret
from aibridge.database.files import DatabaseUnusable
from aibridge.model_names import ModelRules
from aibridge.ports import Clock
from aibridge.providers import Provider
from aibridge.recorders.rows import Limits
from aibridge.recorders.sqlite import Content
from aibridge.routes import PREFIXES
from aibridge.server import insight
from aibridge.server.api.door import ApiDoor
from aibridge.server.app import FrontDoor
from aibridge.server.auth.authenticator import GatewayAuthenticator
from aibridge.server.auth.bad_tokens import BadTokens
from aibridge.server.auth.caller_tokens import CallerTokens
from aibridge.server.auth.oidc.rules import OidcRules
from aibridge.server.config import Configuration
from aibridge.server.configured_callers import endpoint_of
from aibridge.server.configured_logins import opened_logins, pages_address, pages_of_logins
from aibridge.server.configured_oidc import opened_tokens
from aibridge.server.configured_tools import ca_bundle_of, check_audiences, secrets_of
from aibridge.server.health import Draining, health, readiness
from aibridge.server.http import limits
from aibridge.server.http.asgi import Application
from aibridge.server.http.pressure import Pressure, shed_first
from aibridge.server.http.serving import HttpServer, serve
from aibridge.server.known_secrets import KnownSecrets
from aibridge.server.live_toolbox import LiveToolbox, OpenLogins
from aibridge.server.logs import log_to_stderr
from aibridge.server.reloading import Reloading, ReloadStatus, Rereading, Standing
from aibridge.server.sealing import Sealing
from aibridge.server.server_secret import derived_key
from aibridge.server.store import Store, open_store
from aibridge.server.watching import end_what_dead_keys_opened, failure_of
from aibridge.stores.pins import SqlitePins
from aibridge.tool_settings import ToolSettings
from aibridge.unobserved import UNFOLLOWED, UNOBSERVED, UNOBSERVED_TOOLBOX
from aibridge.upstream import HttpUpstream

if TYPE_CHECKING:
    from aibridge.mcp import McpServer
    from aibridge.metrics import Metrics
    from aibridge.server.auth.oidc.issuer import Issuer
    from aibridge.server.auth.oidc.sign_in import TokenSignIn
    from aibridge.tracing import Tracing

_GC_THRESHOLD = 20_000  # new objects between two looks at the young ones
_PER_INTERCEPTION = 16 * 1024 * 1024  # bytes of content

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What was read and checked before anything was opened."""

    configuration: Configuration
    providers: tuple[Provider, ...]
    secret: Secret
    mcp_servers: tuple[McpServer, ...] = ()
    tools: ToolSettings = field(default_factory=ToolSettings)
    models: ModelRules | None = None
    oidc: OidcRules | None = None
    """Whose tokens let people in."""

    @property
    def secrets(self) -> list[str]:
        """What must not be written anywhere."""
        keys = (secret for provider in self.providers for secret in provider.secrets)
        return [self.secret.reveal(), *keys, *secrets_of(self.mcp_servers)]


@dataclass(frozen=True, slots=True)
class Gateway:
    """The composed application of one process."""

    app: Application
    bridge: RequestBridge
    store: Store
    draining: Draining
    metrics: Metrics | None
    tools: LiveToolbox
    secrets: KnownSecrets
    standing: Standing
    authenticator: GatewayAuthenticator
    tokens: TokenSignIn | None

    async def adopt(self, plan: Plan) -> None:
        """From now on requests go by this plan, as far as a running server can follow it.

        Raises:
            Wrong: it would be good for a start, and is not beside what holds until then.
        """
        if self.tokens is not None:
            own = self.tokens.issuer.rules.audiences
            called = "auth.oidc.audience as it is until the next start"
            check_audiences(plan.configuration, plan.mcp_servers, own, called)
        server = plan.configuration.settings.server
        self.secrets.add(plan.secrets)
        log_to_stderr(server.log, self.secrets, server.log_level)
        toolbox = await self.tools.adopt(plan.mcp_servers)
        self.bridge.reconfigure(
            providers=plan.providers,
            toolbox=toolbox,
            tools=plan.tools,
            models=plan.models,
            max_body=server.max_body,
            max_concurrency=server.max_concurrency,
            on_disconnect=server.on_disconnect,
        )

    def start_draining(self) -> None:
        _log.info("draining", extra={"in_flight": self.bridge.in_flight})
        self.draining.begun = True
        self.bridge.start_draining()


async def serve_process(
    plan: Plan,
    sockets: list[socket.socket],
    on_started: Callable[[], None],
    *,
    until: Callable[[], Coroutine[Any, Any, None]] | None = None,
    rereading: Rereading | None = None,
    scraped: Sequence[socket.socket] = (),
    supervised: bool = False,
) -> int:
    """Serves until a signal, or until what `until` gives returns, and drains. Returns the exit status.

    It goes by another plan when `rereading` finds one. On the sockets `scraped` it tells its metrics, to the last.
    `supervised` is that of `serve`.

    Raises:
        DatabaseUnusable
    """
    settings = plan.configuration.settings
    async with (
        composed(plan, sockets[0] if sockets else None) as gateway,
        insight.metered(gateway.metrics, gateway.store, list(scraped)),
        asyncio.TaskGroup() as group,
    ):
        server = HttpServer(
            gateway.app,
            sockets=sockets,
            limits=limits.Limits(connections=settings.server.max_connections),
            drain_timeout=settings.server.drain_timeout,
            on_draining=gateway.start_draining,
            on_deadline=gateway.bridge.abort,
        )
        ends = [] if until is None else [until()]
        if settings.recording.fail != "open":  # whose requests are served although nothing is kept
            ends.append(failure_of(gateway.store))
        beside = [
            group.create_task(_once_started(server, gateway.store.boot_id, on_started)),
            group.create_task(end_what_dead_keys_opened(gateway.bridge, gateway.authenticator)),
            *(group.create_task(_drain_after(end, server)) for end in ends),
        ]
        if gateway.tokens is not None:
            beside.append(group.create_task(gateway.tokens.issuer.keep_fresh(random.random)))
        if rereading is not None:
            reloading = _reloading(gateway, plan, rereading, on_closed=server.begin_drain)
            beside.append(group.create_task(reloading.run()))
        ending = await serve(server, supervised=supervised)
        for task in beside:
            task.cancel()
        displaced = gateway.store.is_displaced
    _log.info("stopped", extra={"ending": ending})
    return 1 if gateway.store.has_failed or displaced else 0


@asynccontextmanager
async def composed(plan: Plan, listening: socket.socket | None = None) -> AsyncIterator[Gateway]:
    """Opens the store and puts the application together; leaving the block ends what runs and keeps its records.

    `listening` says where our own pages are, unless the configuration does.

    Raises:
        DatabaseUnusable
    """
    configuration, clock = plan.configuration, SystemClock()
    server, recording = configuration.settings.server, configuration.settings.recording
    metrics, address = insight.metrics(configuration), pages_address(configuration, listening)
    callers = CallerTokens(clock, needed=False)  # the toolbox says when they are
    async with (
        insight.tracing(configuration) as tracing,
        _opened_store(plan, clock, metrics) as store,
        opened_tokens(plan.oidc, store.file, clock, callers) as tokens,
        _toolbox(plan, store, clock, address, metrics, tracing, callers, tokens) as tools,
    ):
        secrets, standing = KnownSecrets(plan.secrets), Standing(ReloadStatus(clock.now()))
        authenticator = _authenticator(configuration, store, clock, tokens)
        bridge = RequestBridge(
            providers=plan.providers,
            recorder=store.recorder if metrics is None else metrics.recording(store.recorder),
            authenticator=authenticator,
            upstream=insight.dumped(_way_out(configuration), configuration, secrets),
            conversations=store.conversations,
            observer=metrics or UNOBSERVED,
            tracing=tracing,
            toolbox=await tools.adopt(plan.mcp_servers),
            tools=plan.tools,
            models=plan.models,
            clock=clock,
            ids=new_id,
            attribution_key=derived_key(plan.secret, "attribution hashes"),
            prefixes=PREFIXES,
            max_body=server.max_body,
            max_concurrency=server.max_concurrency,
            on_disconnect=server.on_disconnect,
            fail=recording.fail,
        )
        draining, pages = Draining(), partial(pages_of_logins, plan.secret, people=store.people, address=address)
        door_of_api = ApiDoor(store.file, authenticator, clock, bridge, standing, tools, lambda: pages(tools.logins))
        async with aclosing(door_of_api) as api, bridge:
            own: dict[bytes, Application] = {
                b"/healthz": health(__version__),
                b"/readyz": _readiness(configuration, draining, store, tokens),
                b"/openapi.json": api,
            }
            door = shed_first(FrontDoor(bridge=bridge, api=api, own=own), Pressure(clock.monotonic))
            yield Gateway(door, bridge, store, draining, metrics, tools, secrets, standing, authenticator, tokens)


def _toolbox(
    plan: Plan,
    store: Store,
    clock: Clock,
    address: str,
    metrics: Metrics | None,
    tracing: Tracing | None,
    callers: CallerTokens,
    tokens: TokenSignIn | None,
) -> LiveToolbox:
    return LiveToolbox(
        _logins(plan, store, clock, address),
        pins=SqlitePins(store.file, clock),
        observer=UNOBSERVED_TOOLBOX if metrics is None else metrics.toolbox,
        connecting=tracing or UNFOLLOWED,
        clock=clock,
        ca_bundle=ca_bundle_of(plan.configuration),
        callers=callers,
        find_endpoint=endpoint_of(None if tokens is None else tokens.issuer),
    )


def _authenticator(
    configuration: Configuration, store: Store, clock: Clock, tokens: TokenSignIn | None
) -> GatewayAuthenticator:
    modes = [mode for mode in configuration.settings.auth.modes if mode in ("key", "oidc")]
    return GatewayAuthenticator(
        store.people, BadTokens(), clock, tokens, keys="key" in modes, tokens_first=modes[0] == "oidc"
    )


def _readiness(
    configuration: Configuration, draining: Draining, store: Store, tokens: TokenSignIn | None
) -> Application:
    """Without the keys of the issuer nobody comes in, unless gateway keys let them in too."""
    kept = partial(_why_not_kept, store)
    if tokens is None:
        return readiness(draining, kept)
    unverifiable = partial(_why_unverifiable, tokens.issuer)
    if "key" in configuration.settings.auth.modes:
        return readiness(draining, kept, warnings=(unverifiable,))
    return readiness(draining, kept, unverifiable)


def _why_unverifiable(issuer: Issuer) -> str | None:
    return issuer.why_unusable and "no token can be verified: the identity provider's keys are not known"


def _way_out(configuration: Configuration) -> HttpUpstream:
    settings = configuration.settings.upstream
    return HttpUpstream(max_idle=settings.max_idle, idle_timeout=settings.idle_timeout)


def _logins(plan: Plan, store: Store, clock: Clock, address: str) -> OpenLogins:
    """Opens people's logins at the MCP servers that it is given."""
    bundle = ca_bundle_of(plan.configuration)
    return partial(opened_logins, secret=plan.secret, file=store.file, clock=clock, address=address, ca_bundle=bundle)


def _opened_store(plan: Plan, clock: Clock, metrics: Metrics | None) -> AbstractAsyncContextManager[Store]:
    recording = plan.configuration.settings.recording
    return open_store(
        plan.configuration.database,
        hash_key=derived_key(plan.secret, "token hashes"),
        cipher=Sealing(derived_key(plan.secret, "encryption at rest")),
        clock=clock,
        ids=new_id,
        fail=recording.fail,
        limits=Limits(each=recording.max_bytes, per_interception=max(recording.max_bytes, _PER_INTERCEPTION)),
        content=Content(
            prompts=recording.prompts, tool_arguments=recording.tool_arguments, thoughts=recording.thoughts
        ),
        left_out=None if metrics is None else metrics.left_out,
    )


def _why_not_kept(store: Store) -> str | None:
    """The database: does it take records, and can keys be read? (Its tables were brought up to date at the start.)"""
    if not store.healthy:
        return "the database takes no records"
    try:
        store.people.look_up("")
    except DatabaseUnusable:
        return "the database cannot be read"
    return None


def _reloading(gateway: Gateway, began: Plan, rereading: Rereading, *, on_closed: Callable[[], None]) -> Reloading:
    async def adopt(configuration: Configuration) -> None:
        # The secret of the server stays: what is in the database was made with it.
        await gateway.adopt(await asyncio.to_thread(rereading.planned, configuration, began.secret))

    return Reloading(
        began.configuration,
        rereading,
        adopt,
        gateway.standing,
        SystemClock(),
        on_closed=on_closed,
        counted=insight.counted_reloads(gateway.metrics),
    )


async def _drain_after(end: Coroutine[Any, Any, None], server: HttpServer) -> None:
    await end
    server.begin_drain()


async def _once_started(server: HttpServer, boot_id: str, on_started: Callable[[], None]) -> None:
    await server.started.wait()
    on_started()
    _log.info("serving", extra={"version": __version__, "boot_id": boot_id})
    # What exists now lives as long as the process: the collector need not look at it again and again. A request makes
    # some hundred objects and no cycles, so that looking after every 700 finds nothing, at the price of a twentieth of
    # a small request's CPU.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 50)

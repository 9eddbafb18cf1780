"""One interception, top to bottom; the only loop. Whatever happens in between, it ends with exactly one end record.

The order is the promise: the start is durable before the provider is asked, the end before the client is handed
the last event.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from aibridge import client_apps
from aibridge.attribution import identifier
from aibridge.credentials import Scrubber
from aibridge.dialects.base import Dialect, Fact, Reply, Request, StoredIds, Turn
from aibridge.errors import (
    AnswerBroken,
    Header,
    Problem,
    RecordingFailed,
    Refused,
    UpstreamFailure,
    UpstreamReset,
    UpstreamStalled,
)
from aibridge.interception_log import InterceptionLog
from aibridge.ports import (
    Clock,
    ConversationStore,
    Identity,
    Ids,
    Recorder,
    Upstream,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamTimeouts,
)
from aibridge.providers.credential import Credential, choose_credential
from aibridge.providers.headers import client_headers, upstream_headers
from aibridge.records import InterceptionRecord, State
from aibridge.reply_writer import Interrupted, Interruption, ReplyWriter
from aibridge.routes import Route, upstream_url

MAX_ERROR_BODY = 1024 * 1024
"""How much of a provider's error body is relayed, in bytes: it is held while secrets are looked for."""
_END_DEADLINE = 5.0  # seconds that the last event waits for its record
_TRAILER_DEADLINE = 1.0  # seconds that a provider has to close after its terminal event
_INTERCEPTION_ID = b"x-aibridge-interception-id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What an interception talks to, and the few settings that it follows."""

    upstream: Upstream
    recorder: Recorder
    conversations: ConversationStore
    clock: Clock
    ids: Ids
    scrubber: Scrubber
    attribution_key: bytes = field(repr=False)
    fail: Literal["closed", "usage-only", "open"] = "closed"


@dataclass(frozen=True, slots=True)
class Asked:
    """One bridged client request, read and authenticated."""

    route: Route
    dialect: Dialect
    identity: Identity
    body: bytes
    body_was_encoded: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an interception does not complete: what the record says, and what the client is told."""

    state: State
    problem: Problem
    error_type: str


class Interception:
    """Runs one interception and answers the client. `run` raises Refused before anything was recorded."""

    def __init__(self, ports: Ports, asked: Asked, writer: ReplyWriter, interruption: Interruption) -> None:
        self._ports = ports
        self._asked = asked
        self._writer = writer
        self._interruption = interruption
        self._provider = asked.route.provider
        self._request: Request = asked.dialect.parse(asked.body)
        self._credential, self._refusal = self._authorised()
        self.id = ports.ids()
        self._log = InterceptionLog(ports.recorder, ports.clock, ports.ids, self.id, self._request.prompt)
        self._headers: Sequence[Header] = ((_INTERCEPTION_ID, self.id.encode()),)
        self._reply: Reply | None = None
        self._streaming_reply = False

    async def run(self) -> None:
        upstream_user = None
        if self._provider.attributed:
            upstream_user = identifier(
                self._asked.identity.actor,
                self._provider.upstream_user,
                key=self._ports.attribution_key,
                limit=self._asked.dialect.identifier_limit,
            )
        try:
            await self._log.begin(self._record(upstream_user))
        except RecordingFailed:
            if self._ports.fail != "open":
                raise Refused(Problem(503, "this request cannot be recorded at the moment")) from None
        try:
            await self._run_recorded(upstream_user)
        except asyncio.CancelledError:
            # The host cancelled us. The end is kept all the same; it is idempotent, so a second one is harmless.
            reason = self._interruption.reason or "gateway_aborted"
            await asyncio.shield(self._conclude(_Failure(reason, Problem(503, "the request was cancelled"), reason)))
            raise
        except AnswerBroken:
            raise
        except Exception:
            # A fault of ours. The edge of the house reports it; here it must not leave an interception open.
            await self._conclude(_Failure("gateway_aborted", Problem(500, "internal error"), "internal_error"))
            raise

    async def _run_recorded(self, upstream_user: str | None) -> None:
        try:
            async with self._interruption:
                if self._refusal is None:
                    self._refusal = await self._forbidden()
                if self._refusal is not None:
                    await self._fail(_Failure("rejected", self._refusal, "rejected"))
                    return
                await self._ask(upstream_user)
        except UpstreamFailure as error:
            await self._fail(_upstream_failure(error))
        except RecordingFailed:
            await self._fail(_unrecordable())
        except Interrupted as interrupted:
            problem = Problem(503, "the gateway is shutting down")
            await self._fail(_Failure(interrupted.reason, problem, interrupted.reason))
        except Refused as refused:
            await self._fail(_Failure("rejected", refused.problem, "rejected"))

    # -- before the provider is asked ------------------------------------------------------------------

    def _authorised(self) -> tuple[Credential, Problem | None]:
        """The credential for the provider. A forbidden one is a rejection on record; a missing one is not."""
        try:
            return choose_credential(self._provider, self._asked.identity.headers), None
        except Refused as refused:
            if refused.problem.status != 403:
                raise
            return Credential(kind="byok", hint="...", header=None), refused.problem

    async def _forbidden(self) -> Problem | None:
        """A rule of ours that this request breaks, if any."""
        if self._request.background:
            return Problem(501, "background responses are not supported by this gateway; set background to false")
        if self._credential.kind == "centralized":
            for stored in self._request.references:
                if await self._ports.conversations.owner(self._provider.name, stored) != self._asked.identity.actor.id:
                    # The same words for somebody else's and for nobody's: what exists is not told.
                    return Problem(404, f"no stored object with id {stored[:64]!r} was found")
        return None

    def _record(self, upstream_user: str | None) -> InterceptionRecord:
        asked, request, provider = self._asked, self._request, self._provider
        headers, actor = asked.identity.headers, asked.identity.actor
        client = client_apps.recognise(headers)
        agent_id, parent_agent_id = client_apps.agent_ids(headers)
        return InterceptionRecord(
            id=self.id,
            initiator_id=actor.id,
            metadata=actor.described(),
            model=request.model,
            provider=provider.type,
            provider_name=provider.name,
            dialect=asked.dialect.name,
            route=asked.route.template,
            streaming=request.streaming,
            started_at=self._ports.clock.now(),
            client=client,
            client_session_id=client_apps.session_of(client, headers, request.session_hint, asked.dialect.name),
            agent_id=agent_id,
            parent_agent_id=parent_agent_id,
            user_agent=client_apps.user_agent(headers),
            correlating_tool_call_id=request.correlating_tool_call_id,
            credential_kind=self._credential.kind,
            credential_hint=self._credential.hint,
            upstream_user=upstream_user,
        )

    # -- the way up and back ---------------------------------------------------------------------------

    async def _ask(self, upstream_user: str | None) -> None:
        provider, request = self._provider, self._request
        if upstream_user is not None:
            request = request.attributed_to(upstream_user)
        if provider.ask_usage:
            request = request.asking_usage()
        headers = upstream_headers(
            self._asked.identity.headers,
            provider=provider,
            credential=self._credential,
            actor=self._asked.identity.actor,
            bridged=True,
            body_was_encoded=self._asked.body_was_encoded,
        )
        url = upstream_url(self._asked.route, self._asked.identity.query)
        outgoing = UpstreamRequest("POST", url, headers, request.body())
        first_byte = provider.first_byte_timeout if request.streaming else provider.blocking_first_byte_timeout
        timeouts = UpstreamTimeouts(provider.connect_timeout, first_byte, provider.stall_timeout)
        async with self._ports.upstream.open(outgoing, timeouts) as response:
            if response.status >= 400:
                await self._relay_error(response)
            elif response.status >= 300:
                raise UpstreamReset(f"the provider answered with a redirect ({response.status}), which is not followed")
            else:
                self._streaming_reply = _is_event_stream(response.headers)
                self._reply = reply = request.reply(stream=self._streaming_reply)
                await self._relay(response, reply)

    async def _relay(self, response: UpstreamResponse, reply: Reply) -> None:
        """One turn: what the provider says goes to the client as it comes, but for the terminal event."""
        writer = self._writer
        while not reply.finished and (chunk := await response.read()):
            if writer.status is None:
                self._log.saw_first_byte()
            data = reply.receive(chunk)
            if facts := reply.facts():
                await self._keep(facts, reply)
            if writer.status is None and (data or self._streaming_reply):
                await writer.start(response.status, self._client_headers(response))
            if data:
                await writer.send(data)
        turn = reply.end_turn()
        await self._keep(reply.facts(), reply)
        if turn.outcome == "cut":
            raise UpstreamReset("the provider's answer ended before it was complete")
        # From here on the client has its answer coming: it no longer matters whether it waits for it.
        self._interruption.disarm()
        await self._finish(response, reply, turn)

    async def _finish(self, response: UpstreamResponse, reply: Reply, turn: Turn) -> None:
        """The end becomes durable, then the withheld bytes go out."""
        writer = self._writer
        status = response.status
        state: State = "client_gone" if writer.gone else "completed"
        if turn.outcome == "failed":
            message = self._scrubbed(turn.error_message)
            kept = await self._end("upstream_error", turn.error_type or "error", message, status=status)
        else:
            kept = await self._end(state, status=status)
        if not kept:
            await self._say(_unrecordable().problem)
        elif writer.status is None:
            await writer.answer(status, self._client_headers(response), reply.finish())
        elif response.at_end:
            await writer.end(reply.finish())
        else:
            await writer.send(reply.finish())
            await self._relay_trailer(response, reply)

    async def _relay_trailer(self, response: UpstreamResponse, reply: Reply) -> None:
        """What a provider sends after its terminal event, for as long as that is worth waiting for."""
        try:
            async with asyncio.timeout(_TRAILER_DEADLINE):
                while chunk := await response.read():
                    reply.receive(chunk)
                    await self._writer.send(reply.finish())
        except (TimeoutError, UpstreamFailure):
            pass  # the answer was complete
        await self._writer.end()

    async def _relay_error(self, response: UpstreamResponse) -> None:
        """The provider refused: its status, headers and body are the client's answer."""
        body = b""
        while len(body) < MAX_ERROR_BODY and (chunk := await response.read()):
            self._log.saw_first_byte()
            body += chunk
        body = self._ports.scrubber.scrub(body[:MAX_ERROR_BODY], *self._credential.secrets)
        error_type, message = self._asked.dialect.read_error(body)
        error_type = error_type or f"http_{response.status}"
        if self._credential.kind == "centralized" and response.status in (401, 403):
            # Passed on, it would make the client drop its own login, which is fine.
            problem = Problem(502, f"the provider refused the gateway's own credential (HTTP {response.status})")
            await self._fail(_Failure("upstream_error", problem, error_type))
            return
        self._interruption.disarm()
        if await self._end("upstream_error", error_type, message, status=response.status):
            await self._writer.answer(response.status, self._client_headers(response), body)
        else:
            await self._say(_unrecordable().problem)

    # -- the record ------------------------------------------------------------------------------------

    async def _keep(self, facts: Sequence[Fact], reply: Reply) -> None:
        """Facts become records; ids get their owner before the client can see them."""
        if reply.response_id is not None:
            await self._log.prompt(reply.response_id)
        for fact in facts:
            if isinstance(fact, StoredIds) and self._credential.kind == "centralized":
                await self._ports.conversations.own(self._provider.name, fact.ids, self._asked.identity.actor.id)
        try:
            await self._log.keep(facts)
        except RecordingFailed:
            if self._ports.fail != "open":
                raise

    async def _end(
        self, state: State, error_type: str | None = None, message: str | None = None, *, status: int | None = None
    ) -> bool:
        """Makes the end durable. False: it is not, and the client must not believe that the request is on record."""
        try:
            async with asyncio.timeout(_END_DEADLINE):
                await self._log.prompt(self._reply.response_id if self._reply is not None else None)
                await self._log.end(
                    state,
                    status=status if status is not None else self._writer.status,
                    error_type=error_type,
                    error_message=message,
                    credential_hint=self._credential.hint,
                )
        except (RecordingFailed, TimeoutError):
            return self._ports.fail == "open"
        return True

    async def _fail(self, failure: _Failure) -> None:
        """Ends an interception that does not complete: what is known is kept, then the client is told."""
        said = await self._conclude(failure)
        if said and self._writer.status is not None and self._reply is not None:
            await self._writer.end(self._reply.finish())
        elif failure.state != "client_gone":
            await self._say(failure.problem)

    async def _conclude(self, failure: _Failure) -> bool:
        """Keeps what is known and ends the record. True: the provider had said itself what went wrong."""
        if self._log.ended:
            return False
        self._interruption.disarm()
        status = self._writer.status or failure.problem.status
        reply, said = self._reply, False
        told = None if failure.state == "client_gone" and self._writer.status is None else status
        state, error_type, message = failure.state, failure.error_type, failure.problem.message
        if reply is not None:
            turn = reply.end_turn()
            if turn.outcome == "failed":  # why the answer then broke off, or nobody waited for it, matters less
                said, state = True, "upstream_error"
                error_type, message = turn.error_type or "error", turn.error_message or message
            with contextlib.suppress(RecordingFailed):  # the end will say so
                await self._keep(reply.facts(), reply)
        await self._end(state, error_type, self._scrubbed(message), status=told)
        return said

    async def _say(self, problem: Problem) -> None:
        """Tells the client what went wrong, in the dialect's words: as an answer, or in the midst of a stream."""
        if self._writer.status is None:
            body = self._asked.dialect.error_body(problem, self.id)
            headers = [(b"content-type", b"application/json"), *problem.headers, *self._headers]
            await self._writer.answer(problem.status, headers, body)
        elif self._streaming_reply and self._reply is not None:
            await self._writer.end(self._reply.fail(problem))
        else:
            raise AnswerBroken(problem.message)

    def _client_headers(self, response: UpstreamResponse) -> list[Header]:
        return [*client_headers(response.headers, length_kept=False), *self._headers]

    def _scrubbed(self, message: str | None) -> str | None:
        if message is None:
            return None
        scrubbed = self._ports.scrubber.scrub(message.encode("utf-8", "replace"), *self._credential.secrets)
        return scrubbed.decode("utf-8", "replace")


def _upstream_failure(error: UpstreamFailure) -> _Failure:
    if isinstance(error, UpstreamStalled):
        return _Failure("upstream_stalled", Problem(504, str(error)), "timeout")
    return _Failure("upstream_error", Problem(502, str(error)), "connection_error")


def _unrecordable() -> _Failure:
    problem = Problem(503, "the record of this request could not be kept; the answer was withheld")
    return _Failure("gateway_aborted", problem, "recording_failed")


def _is_event_stream(headers: Sequence[Header]) -> bool:
    return any(
        name.lower() == b"content-type" and value.strip().lower().startswith(b"text/event-stream")
        for name, value in headers
    )

"""One interception, top to bottom; the only loop. Whatever happens in between, it ends with exactly one end record.

The order is the promise: the start is durable before the provider is asked, the end before the client is handed
the last event.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import cast

from aibridge import failures
from aibridge.adapted import check_owner
from aibridge.asked import Asked, attributed, check_rules, record_of
from aibridge.asking import Asking, Question
from aibridge.dialects.base import Fact, Reply, Request, StoredIds, Turn
from aibridge.dialects.turns import LoopingReply
from aibridge.direct_relay import DirectRelay
from aibridge.errors import (
    AnswerBroken,
    Header,
    Problem,
    RecordingFailed,
    Refused,
    ToolsTookTooLong,
    UpstreamFailure,
    UpstreamReset,
)
from aibridge.failures import Failure
from aibridge.fallback import Fallback, fallback_of
from aibridge.inner_loop import InnerLoop, Ways, prepared
from aibridge.interception_log import InterceptionLog
from aibridge.interception_ports import Ports
from aibridge.keep_alive import KeepAlive
from aibridge.last_words import INTERCEPTION_ID, LastWords
from aibridge.ports import Purpose, UpstreamResponse
from aibridge.providers.credential import Credential, choose_credential
from aibridge.providers.headers import client_headers, is_event_stream
from aibridge.records import State
from aibridge.reply_writer import Interrupted, Interruption, ReplyWriter, to_its_end
from aibridge.trailers import read_out, relay_trailer
from aibridge.undeclared_answer import looked_at

MAX_ERROR_BODY = 1024 * 1024
"""How much of a provider's error body is relayed, in bytes: it is held while secrets are looked for."""


class Interception:
    """Runs one interception and answers the client.

    Making one raises Refused. `run` raises RecordingFailed before the provider was asked, AnswerBroken after.
    """

    def __init__(self, ports: Ports, asked: Asked, writer: ReplyWriter, interruption: Interruption) -> None:
        self._ports = ports
        self._asked = asked
        self._writer = writer
        self._interruption = interruption
        self._provider = asked.route.provider
        self._request: Request = asked.dialect.parse(asked.body)
        credential, self._refusal = self._authorised()
        self.id = ports.ids()
        self._model = self._provider.model_of(self._request.model)
        request, purpose = self._request, Purpose(self._provider.name, self._model, self.id)
        question = Question(
            route=asked.route,
            identity=asked.identity,
            method="POST",
            purpose=purpose,
            streaming=request.streaming,
            body_was_encoded=asked.body_was_encoded,
        )
        self._asking = Asking(ports.upstream, question, credential, ports.states)
        self._log = InterceptionLog(
            ports.recorder,
            ports.clock,
            ports.ids,
            self.id,
            self._request.prompt,
            fail=ports.fail,
            deadline=ports.recording_deadline,
            observer=ports.observer,
        )
        self._headers: Sequence[Header] = ((INTERCEPTION_ID, self.id.encode()),)
        self._reply: Reply | None = None
        self._streaming_reply = False
        self._fallback: Fallback | None = None
        self._loop: InnerLoop | None = None  # where tools of ours are offered
        self._alive: KeepAlive | None = None

    async def run(self) -> None:
        try:
            self._request, named = attributed(self._request, self._asked, self._ports.attribution_key)
            of = (self._asked, self._request, self._model, self._asking.credential)
            await self._log.begin(record_of(*of, named, self.id, self._ports.clock.now()))
            await self._run_recorded()
        except asyncio.CancelledError:
            # The host cancelled us, and nobody will be answered. The end is kept all the same.
            failure = failures.cancelled(self._interruption.reason)
            await to_its_end(self._conclude(failure, told=self._writer.status))
            raise
        except (AnswerBroken, RecordingFailed):  # the latter before the provider was asked
            raise
        except Exception:
            # A fault of ours. The edge of the house reports it; here it must not leave an interception open.
            failure = failures.internal_error()
            await self._conclude(failure, told=self._writer.status or failure.problem.status)
            with contextlib.suppress(AnswerBroken):
                await self._say(failure.problem)
            raise
        finally:
            self._loop = None  # it knows us: until somebody looked for such circles, the body would stay in memory

    async def _run_recorded(self) -> None:
        try:
            async with self._interruption:
                await self._check_rules()
                if self._writer.gone:  # nobody waits, and nothing was spent yet
                    raise Interrupted("client_gone")
                if self._alive is None:
                    await self._ask()
                else:
                    async with self._alive:
                        await self._ask()
        except UpstreamFailure as error:
            await self._fail(failures.upstream_failure(error))
        except ToolsTookTooLong as error:
            await self._fail(failures.out_of_time(error))
        except RecordingFailed:
            await self._fail(failures.unrecordable())
        except Interrupted as interrupted:
            await self._fail(failures.interrupted(interrupted.reason, interrupted.problem))
        except Refused as refused:
            await self._fail(failures.rejected(refused.problem))

    # -- before the provider is asked ------------------------------------------------------------------

    def _authorised(self) -> tuple[Credential, Problem | None]:
        """The credential for the provider. A forbidden one is a rejection on record; a missing one is not."""
        try:
            return choose_credential(self._provider, self._asked.telling), None
        except Refused as refused:
            if refused.problem.status != 403:
                raise
            return Credential(kind="byok", hint="...", header=None), refused.problem

    async def _check_rules(self) -> None:
        """Raises: Refused, for what this request must not do."""
        if self._refusal is not None:
            raise Refused(self._refusal)
        actor, ports = self._asked.identity.actor, self._ports
        check_rules(self._request, self._model, actor, ports.models)
        if self._asking.credential.kind == "centralized":
            await check_owner(self._provider.name, self._request.references, actor, ports.conversations)
        if self._asked.route.fallback is not None:
            asked, request = self._asked, self._request
            self._fallback = fallback_of(self._asking, asked, request, self._model, ports.models, ports.observer)
        if ports.offering is not None and ports.offering.concerns(actor.id):
            ways = Ways(self._keep, self._writer, self._interruption)
            made = await prepared(ports.offering, self._asked, self._request, self.id, ports.clock, ways)
            self._request, self._loop, self._alive = made.request, made.loop, made.alive

    # -- the way up and back ---------------------------------------------------------------------------

    async def _ask(self) -> None:
        request: Request | None = self._request.asking_usage() if self._provider.ask_usage else self._request
        while request is not None:
            request = await self._turn(request)

    async def _turn(self, request: Request) -> Request | None:
        """One turn, and what follows from it. The next request; None: the client has its answer."""
        opening = self._asking.turn(request.body()) if self._fallback is None else self._fallback.turn(request)
        self._log.observation.asked()
        async with opening as response:
            self._log.observation.answered(response.status)
            if response.status >= 400:
                await self._relay_error(response)
                return None
            if response.status >= 300:
                raise UpstreamReset(f"the provider answered with a redirect ({response.status}), which is not followed")
            answer: UpstreamResponse = response
            stream = is_event_stream(response.headers)
            if stream is None:
                answer, stream = await looked_at(response, asked=request.streaming)
            reply = self._reply_to(request, answer, stream=stream)
            turn = await self._relay(answer, reply)
            if self._loop is None or not self._loop.goes_on(turn):
                if self._loop is not None:
                    await self._loop.end(reply, turn)
                # From here on the client has its answer coming: it no longer matters whether it waits for it.
                self._interruption.disarm()
                await self._finish(answer, reply, turn)
                return None
            await read_out(answer)
        return await self._loop.next_request(request, reply, turn)

    def _reply_to(self, request: Request, response: UpstreamResponse, *, stream: bool) -> Reply:
        """The one reply to the client, ready for another turn."""
        if self._reply is None:
            self._streaming_reply = stream
            self._reply = request.reply(stream=stream)
        elif stream is not self._streaming_reply:
            raise UpstreamReset("the provider answered a later turn in another form than the first")
        else:
            cast("LoopingReply", self._reply).next_turn()
        if self._alive is not None and stream:
            self._alive.may_start(response.status, self._client_headers(response))
        return self._reply

    async def _relay(self, response: UpstreamResponse, reply: Reply) -> Turn:
        """One turn: what the provider says goes to the client as it comes, but for the terminal event."""
        receiving = reply if self._loop is None else cast("LoopingReply", reply).turn
        writer, direct = self._writer, DirectRelay(receiving, self._writer)
        while not reply.finished and (chunk := await response.read()):
            if writer.status is None:
                self._log.saw_first_byte()
            await self._pass_on(response, reply.receive(chunk), reply.facts())
            if self._log.has_prompt and reply.response_id is not None:
                await self._keep(())  # not with the end, which a killed process does not see
            while writer.writes_now and not reply.finished:
                data, facts = await direct.relay(response)
                if not (data or facts):
                    break
                await self._pass_on(response, data, facts)
        turn = reply.end_turn()
        await self._keep(reply.facts(), last=not turn.calls)
        if turn.outcome == "cut":
            raise UpstreamReset("the provider's answer ended before it was complete")
        return turn

    async def _pass_on(self, response: UpstreamResponse, data: bytes, facts: Sequence[Fact]) -> None:
        if facts:
            await self._keep(facts)
        if self._writer.status is None and (data or self._streaming_reply):
            await self._writer.start(response.status, self._client_headers(response))
        await self._writer.send(data)

    async def _finish(self, response: UpstreamResponse, reply: Reply, turn: Turn) -> None:
        """The end becomes durable, then the withheld bytes go out."""
        writer, status = self._writer, response.status
        state: State = "client_gone" if writer.gone else "completed"
        if turn.outcome == "failed":
            self._asking.failed(turn)
            message = self._scrubbed(turn.error_message)
            kept = await self._end("upstream_error", turn.error_type or "error", message, status=status)
        else:
            kept = await self._end(state, status=status)
        if not kept:
            await self._say(failures.unrecordable().problem)
        elif writer.status is None:
            await writer.answer(status, self._client_headers(response), reply.finish())
        elif response.at_end:
            await writer.end(reply.finish())
        else:
            await writer.send(reply.finish())
            await relay_trailer(response, reply, writer)

    async def _relay_error(self, response: UpstreamResponse) -> None:
        """The provider refused: its status, headers and body are the client's answer."""
        read = bytearray()
        # Where it breaks off, its status and when to ask again say more than a 502 of ours would.
        with contextlib.suppress(UpstreamFailure):
            while len(read) < MAX_ERROR_BODY and (chunk := await response.read()):
                self._log.saw_first_byte()
                read += chunk
        body = self._ports.scrubber.scrub(bytes(read[:MAX_ERROR_BODY]), *self._asking.credential.secrets)
        error_type, message = self._asked.dialect.read_error(body)
        error_type = error_type or f"http_{response.status}"
        problem = None
        if self._asking.credential.kind == "centralized" and response.status in (401, 403):
            # Passed on, it would make the client drop its own login, which is fine.
            problem = Problem(502, f"the provider refused the gateway's own credential (HTTP {response.status})")
        elif self._writer.status is not None:  # a later turn's error, in the midst of the stream
            problem = Problem(response.status, message or f"the provider answered {response.status}")
        if problem is not None:
            await self._fail(Failure("upstream_error", problem, error_type))
            return
        self._interruption.disarm()
        await self._keep((), last=True)
        if await self._end("upstream_error", error_type, message, status=response.status):
            await self._writer.answer(response.status, self._client_headers(response), body)
        else:
            await self._say(failures.unrecordable().problem)

    # -- the record ------------------------------------------------------------------------------------

    async def _keep(self, facts: Sequence[Fact], *, last: bool = False) -> None:
        """Facts become records; ids get their owner before the client can see them. A client that goes waits for it."""
        armed = self._interruption.hold()
        await self._log.keep(facts, self._reply.response_id if self._reply is not None else None, last=last)
        for fact in facts:
            if isinstance(fact, StoredIds) and self._asking.credential.kind == "centralized":
                served_by = self._asking.served_by or self._provider.name
                await self._ports.conversations.own(served_by, fact.ids, self._asked.identity.actor.id)
        self._interruption.release(armed)

    async def _end(
        self, state: State, error_type: str | None = None, message: str | None = None, *, status: int | None
    ) -> bool:
        """Makes the end durable. False: it is not, and the client must not believe that the request is on record."""
        try:
            await self._log.end(
                state,
                status=status,
                error_type=error_type,
                error_message=message,
                credential_hint=self._asking.credential.hint,
                served_by=self._asking.served_by,
            )
        except RecordingFailed:
            return False
        return True

    async def _fail(self, failure: Failure) -> None:
        """Ends an interception that does not complete: what is known is kept, then the client is told."""
        self._interruption.disarm()
        silent = failure.state == "client_gone"
        told = self._writer.status if silent else self._writer.status or failure.problem.status
        said = await self._conclude(failure, told=told)
        if said and self._writer.status is not None and self._reply is not None:
            await self._writer.end(self._reply.finish())
        elif not silent:
            await self._say(failure.problem)

    async def _conclude(self, failure: Failure, *, told: int | None) -> bool:
        """The record's end, whatever else fails. `told` is the status that the client was, or will be, answered.

        True: the provider had said itself what went wrong.
        """
        state, error_type, message, said = failure.state, failure.error_type, failure.problem.message, False
        self._log.why, reply, loop = message, self._reply, self._loop
        facts: Sequence[Fact] = ()
        try:
            if reply is not None:
                turn = reply.end_turn()
                if turn.outcome == "failed":  # why the answer then broke off, or nobody waited for it, matters less
                    said, state = True, "upstream_error"
                    error_type, message = turn.error_type or "error", turn.error_message or message
                facts = reply.facts() if loop is None else (*reply.facts(), *loop.told(turn, failure.problem.message))
            if not self._log.ending:
                async with asyncio.timeout(self._ports.recording_deadline):
                    await self._keep(facts, last=True)
                    if loop is not None and reply is not None:
                        await loop.hold(reply)
        except (RecordingFailed, TimeoutError):
            pass  # the end will say so
        finally:
            await self._end(state, error_type, self._scrubbed(message), status=told)
        return said

    async def _say(self, problem: Problem) -> None:
        """Tells the client what went wrong. Raises: AnswerBroken, when there is no way to."""
        words = LastWords(self._writer, self._asked.dialect, self.id)
        await words.say(problem, self._reply, streaming=self._streaming_reply)

    def _client_headers(self, response: UpstreamResponse) -> list[Header]:
        return [*client_headers(response.headers, length_kept=False), *self._headers]

    def _scrubbed(self, message: str | None) -> str | None:
        if message is None:
            return None
        scrubbed = self._ports.scrubber.scrub(message.encode("utf-8", "replace"), *self._asking.credential.secrets)
        return scrubbed.decode("utf-8", "replace")

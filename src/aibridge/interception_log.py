"""What one interception leaves behind: the dialect's facts, stamped with time and ids, go to the recorder.

Every record is stamped once, before the first attempt to keep it. Which loss matters is the `fail` policy's to say:
`closed` every one, `usage-only` all but content, `open` none. A loss that matters is raised as RecordingFailed, but
never before everything else that was to be kept has had its turn.

Of each interception one line is logged at its start, for each injected tool that ran, and at its end, for debugging; a
warning where it failed. They hold names, numbers and words of our own: no content, and nothing that a provider said of an
error but its kind.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Literal, assert_never

from aibridge.dialects.base import Fact, StoredIds, Thought, TokenUsage, ToolUse, Unreadable
from aibridge.errors import RecordingFailed, kind_of
from aibridge.ports import Clock, Ids, Observation, Observer, Recorder
from aibridge.records import (
    InterceptionRecord,
    InterceptionRecordEnded,
    ModelThoughtRecord,
    PromptUsageRecord,
    State,
    TokenUsageRecord,
    ToolUsageRecord,
)
from aibridge.unobserved import UNOBSERVED

Fail = Literal["closed", "usage-only", "open"]

_ROUTINE = frozenset({"completed", "client_gone", "rejected"})
_LOG = logging.getLogger("aibridge.interceptions")
_MAX_MESSAGE = 1024  # bytes of an error message that are kept


class InterceptionLog:
    """Records one interception: `begin` once, `keep` meanwhile, `end` once.

    `deadline`: seconds that the start and the end are waited for.
    """

    __slots__ = (
        "_clock",
        "_deadline",
        "_ending",
        "_fail",
        "_ids",
        "_interception_id",
        "_left",
        "_observer",
        "_prompt",
        "_recorder",
        "_started",
        "first_byte",
        "observation",
        "why",
    )

    def __init__(
        self,
        recorder: Recorder,
        clock: Clock,
        ids: Ids,
        interception_id: str,
        prompt: str | None,
        *,
        fail: Fail,
        deadline: float,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._ids = ids
        self._interception_id = interception_id
        self._prompt = prompt
        self._left: deque[Fact] = deque()
        self._fail = fail
        self._deadline = deadline
        self._observer = observer
        self._started = clock.monotonic()
        self._ending: asyncio.Task[None] | None = None
        self.first_byte: float | None = None
        """Seconds from the start to the first byte of the provider's answer."""
        self.observation: Observation = UNOBSERVED
        """Follows the interception from `begin` to the end."""
        self.why: str | None = None
        """What went wrong in words of our own, for whoever reads the log."""

    async def begin(self, record: InterceptionRecord) -> None:
        """Returns when the start is durable. One that may yet become durable, too late, has been ended.

        Raises: RecordingFailed.
        """
        self.observation = self._observer.intercepting(record)
        if _LOG.isEnabledFor(logging.DEBUG):
            _LOG.debug("interception started", extra=_described(record))
        try:
            async with asyncio.timeout(self._deadline):
                await self._recorder.record_interception(record)
        except RecordingFailed as error:
            self._warn_unkept(error)
            if self._fail != "open":
                self.observation.over()
                raise
        except TimeoutError:
            if self._fail != "open":
                message = f"the start was not durable within {self._deadline:g} s"
                await self.end("gateway_aborted", status=503, error_type="recording_failed", error_message=message)
                raise RecordingFailed(message) from None

    def saw_first_byte(self) -> None:
        if self.first_byte is None:
            self.first_byte = self._clock.monotonic() - self._started

    async def keep(self, facts: Iterable[Fact], response_id: str | None, *, last: bool = False) -> None:
        """Keeps what can be kept, and with it the prompt: as soon as the answer has an id, at the last otherwise.

        What a cancellation leaves over, the next call keeps. Raises: RecordingFailed.
        """
        self._left.extend(facts)
        failed: RecordingFailed | None = None
        if last:
            self.observation.read()
        if self._prompt is not None and (last or response_id is not None):
            prompt, self._prompt = self._prompt, None
            try:
                await self._recorder.record_prompt_usage(self._prompt_usage(prompt, response_id))
            except RecordingFailed as error:
                failed = error if self._fail == "closed" else None
        while self._left:
            fact = self._left.popleft()
            try:
                await self._keep(fact)
            except RecordingFailed as error:
                if self._fail == "closed" or (self._fail == "usage-only" and isinstance(fact, TokenUsage)):
                    failed = failed or error
        if failed is not None:
            raise failed

    @property
    def has_prompt(self) -> bool:
        """There is a prompt, and it was not kept yet."""
        return self._prompt is not None

    @property
    def ending(self) -> bool:
        """The end has been handed to the recorder."""
        return self._ending is not None

    async def end(
        self,
        state: State,
        *,
        status: int | None,
        error_type: str | None = None,
        error_message: str | None = None,
        credential_hint: str | None = None,
        served_by: str | None = None,
    ) -> None:
        """Returns when the end, and with it everything before, is durable. A second call waits for the first one's.

        Whoever cancels the caller does not cancel the recording. Raises: RecordingFailed, also past the deadline.
        """
        if self._ending is None:
            message = None
            if error_message is not None:
                message = error_message.encode("utf-8", "replace")[:_MAX_MESSAGE].decode("utf-8", "ignore")
            record = InterceptionRecordEnded(
                interception_id=self._interception_id,
                ended_at=self._clock.now(),
                state=state,
                http_status=status,
                error_type=error_type,
                error_message=message,
                time_to_first_byte=self.first_byte,
                credential_hint=credential_hint,
                served_by=served_by,
            )
            self._ending = asyncio.get_running_loop().create_task(self._recorder.record_interception_ended(record))
            self._ending.add_done_callback(self._over)
            self._say_ended(record)
        ending = self._ending
        try:
            await self._done(ending)
            if not ending.done():
                ending.cancel()
                ending.add_done_callback(_look_away)
                raise RecordingFailed(f"the end was not durable within {self._deadline:g} s")
            if ending.cancelled():  # with the event loop
                raise RecordingFailed("the gateway ended before the end was durable")
            ending.result()
        except RecordingFailed as error:
            self._warn_unkept(error)
            if self._fail != "open":
                raise

    async def _done(self, ending: asyncio.Task[None]) -> None:
        """Returns when it is, or past the deadline. (`asyncio.wait` does the same for twice the price.)"""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        wake = partial(_wake, waiter)
        ending.add_done_callback(wake)
        timer = loop.call_later(self._deadline, wake)
        try:
            await waiter
        finally:
            timer.cancel()

    def _say_ended(self, record: InterceptionRecordEnded) -> None:
        level = logging.DEBUG if record.state in _ROUTINE else logging.WARNING
        if _LOG.isEnabledFor(level):
            said = {
                "interception_id": record.interception_id,
                "state": record.state,
                "http_status": record.http_status,
                "cause": None if record.error_type is None else kind_of(record.error_type),
                "why": self.why,
                "first_byte": record.time_to_first_byte,
                "served_by": record.served_by,
                "seconds": round(self._clock.monotonic() - self._started, 6),
            }
            event = "interception ended" if level == logging.DEBUG else "interception failed"
            _LOG.log(level, event, extra={name: value for name, value in said.items() if value is not None})

    def _warn_unkept(self, error: RecordingFailed) -> None:
        _LOG.warning("a record was not kept", extra={"interception_id": self._interception_id, "cause": str(error)})

    def _over(self, _: asyncio.Task[None]) -> None:
        self.observation.over()

    async def _keep(self, fact: Fact) -> None:
        match fact:
            case TokenUsage():
                await self._recorder.record_token_usage(self._token_usage(fact))
            case ToolUse():
                called = self._tool_usage(fact)
                await self._recorder.record_tool_usage(called)
                if fact.server is not None:
                    self.observation.ran(called, fact.server)
                    if _LOG.isEnabledFor(logging.DEBUG):
                        failed = fact.invocation_error is not None
                        said = {"server": fact.server, "tool": fact.tool, "failed": failed}
                        _LOG.debug("injected tool ran", extra={"interception_id": self._interception_id, **said})
            case Thought():
                await self._recorder.record_model_thought(self._thought(fact))
            case Unreadable():
                self.observation.unreadable()
            case StoredIds():
                pass  # not for the record
            case _:
                assert_never(fact)

    def _prompt_usage(self, prompt: str, response_id: str | None) -> PromptUsageRecord:
        return PromptUsageRecord(
            id=self._ids(),
            interception_id=self._interception_id,
            provider_response_id=response_id,
            prompt=prompt,
            created_at=self._clock.now(),
        )

    def _thought(self, fact: Thought) -> ModelThoughtRecord:
        return ModelThoughtRecord(
            id=self._ids(),
            interception_id=self._interception_id,
            content=fact.content,
            source=fact.source,
            created_at=self._clock.now(),
        )

    def _token_usage(self, fact: TokenUsage) -> TokenUsageRecord:
        return TokenUsageRecord(
            id=self._ids(),
            interception_id=self._interception_id,
            provider_response_id=fact.response_id,
            input_tokens=fact.input_tokens,
            output_tokens=fact.output_tokens,
            cache_read_tokens=fact.cache_read_tokens,
            cache_write_tokens=fact.cache_write_tokens,
            extra=fact.extra,
            partial=fact.partial,
            model=fact.model,
            created_at=self._clock.now(),
        )

    def _tool_usage(self, fact: ToolUse) -> ToolUsageRecord:
        return ToolUsageRecord(
            id=self._ids(),
            interception_id=self._interception_id,
            provider_response_id=fact.response_id,
            tool_call_id=fact.call_id,
            tool=fact.tool,
            input=fact.input,
            injected=fact.injected,
            server_url=fact.server_url,
            invocation_error=fact.invocation_error,
            created_at=self._clock.now(),
        )


def _described(record: InterceptionRecord) -> dict[str, object]:
    return {
        "interception_id": record.id,
        "initiator_id": record.initiator_id,
        "provider": record.provider_name,
        "model": record.model,
        "route": record.route,
        "client": record.client,
        "streaming": record.streaming,
        "credential_kind": record.credential_kind,
    }


def _wake(waiter: asyncio.Future[None], _: object = None) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _look_away(given_up: asyncio.Task[None]) -> None:
    """Nobody waits for this any more, so nobody is to be told that it failed."""
    if not given_up.cancelled():
        given_up.exception()

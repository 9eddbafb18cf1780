"""A recorder with a span around each record. What it is told of an interception gets on that interception's spans."""

from __future__ import annotations

from collections.abc import Awaitable

from aibridge.ports import Recorder
from aibridge.records import (
    InterceptionRecord,
    InterceptionRecordEnded,
    ModelThoughtRecord,
    PromptUsageRecord,
    TokenUsageRecord,
    ToolUsageRecord,
)
from aibridge.tracing import names
from aibridge.tracing.following import Current, Intercepting, failed_by


class TracedRecorder:
    """See `aibridge.ports.Recorder`; `current` holds the request that the running task serves."""

    __slots__ = ("_current", "_recorder")

    def __init__(self, recorder: Recorder, current: Current) -> None:
        self._recorder = recorder
        self._current = current

    async def record_interception(self, record: InterceptionRecord) -> None:
        work = self._recorder.record_interception(record)
        following = self._following()
        if following is None:
            return await work
        following.begins(record)
        await _within(following, names.RECORD_INTERCEPTION, work)
        following.processing()
        return None

    async def record_interception_ended(self, record: InterceptionRecordEnded) -> None:
        following = self._following()
        if following is not None:
            following.processing()
            following.ends(record)
        await _within(following, names.RECORD_INTERCEPTION_ENDED, self._recorder.record_interception_ended(record))

    async def record_token_usage(self, record: TokenUsageRecord) -> None:
        following = self._following()
        if following is not None:
            following.used(record)
        await _within(following, names.RECORD_TOKEN_USAGE, self._recorder.record_token_usage(record))

    async def record_prompt_usage(self, record: PromptUsageRecord) -> None:
        following = self._following()
        if following is not None:
            following.answered_as(record)
        await _within(following, names.RECORD_PROMPT_USAGE, self._recorder.record_prompt_usage(record))

    async def record_tool_usage(self, record: ToolUsageRecord) -> None:
        await _within(self._following(), names.RECORD_TOOL_USAGE, self._recorder.record_tool_usage(record))

    async def record_model_thought(self, record: ModelThoughtRecord) -> None:
        await _within(self._following(), names.RECORD_MODEL_THOUGHT, self._recorder.record_model_thought(record))

    def _following(self) -> Intercepting | None:
        following = self._current.get()
        return following if isinstance(following, Intercepting) and following.recording else None


async def _within(following: Intercepting | None, name: str, work: Awaitable[None]) -> None:
    if following is None:
        await work
        return
    span = following.child(name)
    try:
        await work
    except BaseException as error:
        failed_by(span, error)
        raise
    finally:
        span.end()

"""Hands every record to one function: the shortest way for a host to keep records of its own."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from aibridge.errors import RecordingFailed
from aibridge.records import (
    AnyRecord,
    InterceptionRecord,
    InterceptionRecordEnded,
    ModelThoughtRecord,
    PromptUsageRecord,
    TokenUsageRecord,
    ToolUsageRecord,
)


class CallbackRecorder:
    """A `Recorder` that calls `keep(record)`, awaited if it is asynchronous.

    A record counts as durable when `keep` has returned; whatever it raises becomes RecordingFailed.
    """

    def __init__(self, keep: Callable[[AnyRecord], Awaitable[None] | None]) -> None:
        self._keep = keep

    async def record_interception(self, record: InterceptionRecord) -> None:
        await self._hand_over(record)

    async def record_interception_ended(self, record: InterceptionRecordEnded) -> None:
        await self._hand_over(record)

    async def record_token_usage(self, record: TokenUsageRecord) -> None:
        await self._hand_over(record)

    async def record_prompt_usage(self, record: PromptUsageRecord) -> None:
        await self._hand_over(record)

    async def record_tool_usage(self, record: ToolUsageRecord) -> None:
        await self._hand_over(record)

    async def record_model_thought(self, record: ModelThoughtRecord) -> None:
        await self._hand_over(record)

    async def _hand_over(self, record: AnyRecord) -> None:
        try:
            outcome = self._keep(record)
            if inspect.isawaitable(outcome):
                await outcome
        except Exception as error:  # a host's function may raise anything; the port allows one thing
            raise RecordingFailed(f"the host's recorder failed: {type(error).__name__}") from error

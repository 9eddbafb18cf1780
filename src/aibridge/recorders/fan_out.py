"""Hands every record to several recorders. Durable means the first: the others never slow down or fail a request.

The others get a record after the first has taken it, each in order and at its own pace, from a bounded queue.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self, assert_never

from aibridge.ports import Recorder
from aibridge.records import (
    AnyRecord,
    InterceptionRecord,
    InterceptionRecordEnded,
    ModelThoughtRecord,
    PromptUsageRecord,
    TokenUsageRecord,
    ToolUsageRecord,
)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Delivery:
    """How one later recorder fares, in records."""

    delivered: int = 0
    failed: int = 0
    dropped: int = 0  # its queue was full


class FanOut:
    """A `Recorder` in front of several. `async with` it, or `close` it, so that the last records reach the others.

    Args:
        first: what it raises is raised; what it has made durable is durable.
        others: what they raise is counted and logged.
        queue: records that may wait for each of the others.
        closing: seconds that `close` waits for the others.
    """

    def __init__(self, first: Recorder, *others: Recorder, queue: int = 10_000, closing: float = 10.0) -> None:
        self._first = first
        self._later = [_Later(recorder, queue) for recorder in others]
        self._closing = closing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Returns when the others have everything, or their time is up."""
        await asyncio.gather(*(later.close(self._closing) for later in self._later))

    @property
    def deliveries(self) -> list[Delivery]:
        """One for each of the others, in their order."""
        return [later.delivery for later in self._later]

    async def record_interception(self, record: InterceptionRecord) -> None:
        await self._first.record_interception(record)
        self._pass_on(record)

    async def record_interception_ended(self, record: InterceptionRecordEnded) -> None:
        await self._first.record_interception_ended(record)
        self._pass_on(record)

    async def record_token_usage(self, record: TokenUsageRecord) -> None:
        await self._first.record_token_usage(record)
        self._pass_on(record)

    async def record_prompt_usage(self, record: PromptUsageRecord) -> None:
        await self._first.record_prompt_usage(record)
        self._pass_on(record)

    async def record_tool_usage(self, record: ToolUsageRecord) -> None:
        await self._first.record_tool_usage(record)
        self._pass_on(record)

    async def record_model_thought(self, record: ModelThoughtRecord) -> None:
        await self._first.record_model_thought(record)
        self._pass_on(record)

    def _pass_on(self, record: AnyRecord) -> None:
        for later in self._later:
            later.put(record)


class _Later:
    """One of the others. Its task lives while there is something to hand over."""

    def __init__(self, recorder: Recorder, limit: int) -> None:
        self._recorder = recorder
        self._limit = limit
        self._waiting: deque[AnyRecord] = deque()
        self._task: asyncio.Task[None] | None = None
        self.delivery = Delivery()

    def put(self, record: AnyRecord) -> None:
        if len(self._waiting) >= self._limit:
            self.delivery.dropped += 1
            return
        self._waiting.append(record)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._hand_over())

    async def close(self, timeout: float) -> None:
        if self._task is None:
            return
        try:
            await asyncio.wait_for(self._task, timeout)
        except TimeoutError:
            self.delivery.dropped += len(self._waiting)
            self._waiting.clear()

    async def _hand_over(self) -> None:
        while self._waiting:
            record = self._waiting.popleft()
            try:
                await _give(self._recorder, record)
            except Exception as error:  # noqa: BLE001 - a recorder of the host; its faults are not the request's
                self.delivery.failed += 1
                _log.warning("a later recorder failed", extra={"error": type(error).__name__})
            else:
                self.delivery.delivered += 1


async def _give(recorder: Recorder, record: AnyRecord) -> None:
    match record:
        case InterceptionRecord():
            await recorder.record_interception(record)
        case InterceptionRecordEnded():
            await recorder.record_interception_ended(record)
        case TokenUsageRecord():
            await recorder.record_token_usage(record)
        case PromptUsageRecord():
            await recorder.record_prompt_usage(record)
        case ToolUsageRecord():
            await recorder.record_tool_usage(record)
        case ModelThoughtRecord():
            await recorder.record_model_thought(record)
        case _:
            assert_never(record)

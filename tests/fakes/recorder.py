"""A recorder that keeps what it is given, and fails or hangs where a test wants it to."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aibridge.errors import RecordingFailed
from aibridge.recorders.memory import MemoryRecorder
from aibridge.records import (
    AnyRecord,
    InterceptionRecord,
    InterceptionRecordEnded,
    ModelThoughtRecord,
    PromptUsageRecord,
    TokenUsageRecord,
    ToolUsageRecord,
)
from tests.fakes.journal import Journal

Fault: TypeAlias = Callable[[], Awaitable[None]]


async def fails() -> None:
    raise RecordingFailed("the disk is full")


async def hangs() -> None:
    await asyncio.Event().wait()


async def breaks() -> None:
    raise ZeroDivisionError("a fault of the recorder's own")


class ScriptedRecorder:
    """`kept` holds what was accepted. `faults` are awaited, by the method's name, before a record is accepted;
    `slow` after that and before the method returns.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.kept = MemoryRecorder()
        self.attempts: list[AnyRecord] = []
        self.faults: dict[str, Fault] = {}
        self.slow: dict[str, Fault] = {}

    async def record_interception(self, record: InterceptionRecord) -> None:
        await self._keep("record_interception", record, self.kept.record_interception(record))

    async def record_interception_ended(self, record: InterceptionRecordEnded) -> None:
        await self._keep("record_interception_ended", record, self.kept.record_interception_ended(record))

    async def record_token_usage(self, record: TokenUsageRecord) -> None:
        await self._keep("record_token_usage", record, self.kept.record_token_usage(record))

    async def record_prompt_usage(self, record: PromptUsageRecord) -> None:
        await self._keep("record_prompt_usage", record, self.kept.record_prompt_usage(record))

    async def record_tool_usage(self, record: ToolUsageRecord) -> None:
        await self._keep("record_tool_usage", record, self.kept.record_tool_usage(record))

    async def record_model_thought(self, record: ModelThoughtRecord) -> None:
        await self._keep("record_model_thought", record, self.kept.record_model_thought(record))

    async def _keep(self, name: str, record: AnyRecord, keeping: Awaitable[None]) -> None:
        self.attempts.append(record)
        try:
            if name in self.faults:
                self._journal.note("recorder", f"tried {name}")
                await self.faults[name]()
        except BaseException:
            keeping.close()  # type: ignore[attr-defined]  # a coroutine that will not run
            raise
        await keeping
        await asyncio.sleep(0)
        if name in self.slow:
            await self.slow[name]()
        self._journal.note("recorder", name)

    @property
    def end(self) -> InterceptionRecordEnded:
        """The end, which was tried exactly once."""
        tried = [record for record in self.attempts if isinstance(record, InterceptionRecordEnded)]
        assert len(tried) == 1, f"{len(tried)} ends: {tried}"
        return tried[0]

"""Keeps records in lists, as long as the object lives: for tests, trials, and hosts that look at them at once."""

from __future__ import annotations

from aibridge.records import (
    AnyRecord,
    InterceptionRecord,
    InterceptionRecordEnded,
    ModelThoughtRecord,
    PromptUsageRecord,
    TokenUsageRecord,
    ToolUsageRecord,
)


class MemoryRecorder:
    """A `Recorder` with one list for each kind, and `records` with all of them in the order in which they came."""

    def __init__(self) -> None:
        self.records: list[AnyRecord] = []
        self.interceptions: list[InterceptionRecord] = []
        self.ends: list[InterceptionRecordEnded] = []
        self.token_usages: list[TokenUsageRecord] = []
        self.prompts: list[PromptUsageRecord] = []
        self.tool_usages: list[ToolUsageRecord] = []
        self.thoughts: list[ModelThoughtRecord] = []

    async def record_interception(self, record: InterceptionRecord) -> None:
        self.records.append(record)
        self.interceptions.append(record)

    async def record_interception_ended(self, record: InterceptionRecordEnded) -> None:
        self.records.append(record)
        self.ends.append(record)

    async def record_token_usage(self, record: TokenUsageRecord) -> None:
        self.records.append(record)
        self.token_usages.append(record)

    async def record_prompt_usage(self, record: PromptUsageRecord) -> None:
        self.records.append(record)
        self.prompts.append(record)

    async def record_tool_usage(self, record: ToolUsageRecord) -> None:
        self.records.append(record)
        self.tool_usages.append(record)

    async def record_model_thought(self, record: ModelThoughtRecord) -> None:
        self.records.append(record)
        self.thoughts.append(record)

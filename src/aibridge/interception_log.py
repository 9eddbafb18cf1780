"""What one interception leaves behind: the dialect's facts, stamped with time and ids, go to the recorder.

Every record is stamped once, before the first attempt to keep it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from aibridge.dialects.base import Fact, StoredIds, Thought, TokenUsage, ToolUse, Unreadable
from aibridge.ports import Clock, Ids, Recorder
from aibridge.records import (
    InterceptionRecord,
    InterceptionRecordEnded,
    ModelThoughtRecord,
    PromptUsageRecord,
    State,
    TokenUsageRecord,
    ToolUsageRecord,
)

_MAX_MESSAGE = 1024  # bytes of an error message that are kept


class InterceptionLog:
    """Records one interception: `begin` once, `keep` and `prompt` meanwhile, `end` once."""

    __slots__ = ("_clock", "_ids", "_interception_id", "_prompt", "_recorder", "_started", "ended", "first_byte")

    def __init__(self, recorder: Recorder, clock: Clock, ids: Ids, interception_id: str, prompt: str | None) -> None:
        self._recorder = recorder
        self._clock = clock
        self._ids = ids
        self._interception_id = interception_id
        self._prompt = prompt
        self._started = clock.monotonic()
        self.first_byte: float | None = None
        """Seconds from the start to the first byte of the provider's answer."""
        self.ended = False
        """The end is durable."""

    async def begin(self, record: InterceptionRecord) -> None:
        await self._recorder.record_interception(record)

    def saw_first_byte(self) -> None:
        if self.first_byte is None:
            self.first_byte = self._clock.monotonic() - self._started

    async def prompt(self, response_id: str | None) -> None:
        """Keeps the person's words, once: as soon as the provider's answer has an id, at the end otherwise."""
        prompt, self._prompt = self._prompt, None
        if prompt is not None:
            await self._recorder.record_prompt_usage(
                PromptUsageRecord(
                    id=self._ids(),
                    interception_id=self._interception_id,
                    provider_response_id=response_id,
                    prompt=prompt,
                    created_at=self._clock.now(),
                )
            )

    async def keep(self, facts: Iterable[Fact]) -> None:
        for fact in facts:
            match fact:
                case TokenUsage():
                    await self._recorder.record_token_usage(self._token_usage(fact))
                case ToolUse():
                    await self._recorder.record_tool_usage(self._tool_usage(fact))
                case Thought():
                    await self._recorder.record_model_thought(
                        ModelThoughtRecord(
                            id=self._ids(),
                            interception_id=self._interception_id,
                            content=fact.content,
                            source=fact.source,
                            created_at=self._clock.now(),
                        )
                    )
                case StoredIds() | Unreadable():
                    pass  # not for the record
                case _:
                    assert_never(fact)

    async def end(
        self,
        state: State,
        *,
        status: int | None,
        error_type: str | None = None,
        error_message: str | None = None,
        credential_hint: str | None = None,
    ) -> None:
        """Returns when the end, and with it everything before, is durable."""
        message = None
        if error_message is not None:
            message = error_message.encode("utf-8", "replace")[:_MAX_MESSAGE].decode("utf-8", "ignore")
        await self._recorder.record_interception_ended(
            InterceptionRecordEnded(
                interception_id=self._interception_id,
                ended_at=self._clock.now(),
                state=state,
                http_status=status,
                error_type=error_type,
                error_message=message,
                time_to_first_byte=self.first_byte,
                credential_hint=credential_hint,
            )
        )
        self.ended = True

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
            created_at=self._clock.now(),
        )

"""A recorder in front of another: what that one has made durable is counted. It adds no wait and no failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, MutableSet

from aibridge.errors import RecordingFailed
from aibridge.metrics.following import Following
from aibridge.metrics.incidents import Incidents, Kind
from aibridge.ports import Recorder
from aibridge.records import (
    InterceptionRecord,
    InterceptionRecordEnded,
    ModelThoughtRecord,
    PromptUsageRecord,
    TokenUsageRecord,
    ToolUsageRecord,
)


class CountingRecorder:
    """Counts what `inner` keeps. An interception moves the series when its end is durable, with all that it holds.

    Made by `Metrics.recording`.
    """

    def __init__(
        self,
        inner: Recorder,
        incidents: Incidents,
        followed: MutableMapping[str, Following],
        follow: Callable[[InterceptionRecord], Following],
        left_out: MutableSet[str],
    ) -> None:
        self._inner = inner
        self._incidents = incidents
        self._followed = followed
        self._follow = follow
        self._left_out = left_out

    async def record_interception(self, record: InterceptionRecord) -> None:
        following = self._followed.get(record.id)
        if following is None:  # the bridge has another observer
            following = self._followed[record.id] = self._follow(record)
        try:
            following.kept = await self._kept(record.id, "start", self._inner.record_interception(record))
        except BaseException:
            self._followed.pop(record.id, None)
            raise

    async def record_interception_ended(self, record: InterceptionRecordEnded) -> None:
        following = self._followed.get(record.interception_id)
        try:
            kept = await self._kept(record.interception_id, "end", self._inner.record_interception_ended(record))
            if kept and following is not None and following.kept:
                following.recorded(record)
        finally:
            self._followed.pop(record.interception_id, None)

    async def record_token_usage(self, record: TokenUsageRecord) -> None:
        kept = await self._kept(record.id, "tokens", self._inner.record_token_usage(record))
        if kept and (following := self._followed.get(record.interception_id)) is not None:
            following.tokens.append(record)

    async def record_prompt_usage(self, record: PromptUsageRecord) -> None:
        kept = await self._kept(record.id, "prompt", self._inner.record_prompt_usage(record))
        if kept and (following := self._followed.get(record.interception_id)) is not None:
            following.prompts += 1

    async def record_tool_usage(self, record: ToolUsageRecord) -> None:
        kept = await self._kept(record.id, "tool", self._inner.record_tool_usage(record))
        if kept and not record.injected and (following := self._followed.get(record.interception_id)) is not None:
            following.tools.append(record.tool)

    async def record_model_thought(self, record: ModelThoughtRecord) -> None:
        await self._kept(record.id, "thought", self._inner.record_model_thought(record))

    async def _kept(self, key: str, kind: Kind, recording: Awaitable[None]) -> bool:
        """Whether the inner recorder has it. Raises what that one raises."""
        try:
            await recording
        except (RecordingFailed, asyncio.CancelledError):  # cancelled: it took too long
            self._left_out.discard(key)
            self._incidents.recording_failures.labels(kind).inc()
            raise
        if self._left_out and key in self._left_out:
            self._left_out.discard(key)
            return False
        return True

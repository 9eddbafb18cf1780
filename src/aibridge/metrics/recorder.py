"""A recorder in front of another: what that one has made durable is counted. It adds no wait and no failure."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping

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
    ) -> None:
        self._inner = inner
        self._incidents = incidents
        self._followed = followed
        self._follow = follow

    async def record_interception(self, record: InterceptionRecord) -> None:
        if record.id not in self._followed:  # the bridge has another observer
            self._followed[record.id] = self._follow(record)
        try:
            await self._noting("start", self._inner.record_interception(record))
        except BaseException:
            self._followed.pop(record.id, None)
            raise

    async def record_interception_ended(self, record: InterceptionRecordEnded) -> None:
        following = self._followed.get(record.interception_id)
        try:
            await self._noting("end", self._inner.record_interception_ended(record))
            if following is not None and record.interception_id not in following.left_out:
                following.recorded(record)
        finally:
            self._followed.pop(record.interception_id, None)

    async def record_token_usage(self, record: TokenUsageRecord) -> None:
        await self._noting("tokens", self._inner.record_token_usage(record))
        if (following := self._followed.get(record.interception_id)) is not None:
            following.tokens.append(record)

    async def record_prompt_usage(self, record: PromptUsageRecord) -> None:
        await self._noting("prompt", self._inner.record_prompt_usage(record))
        if (following := self._followed.get(record.interception_id)) is not None:
            following.prompts.append(record.id)

    async def record_tool_usage(self, record: ToolUsageRecord) -> None:
        await self._noting("tool", self._inner.record_tool_usage(record))
        if not record.injected and (following := self._followed.get(record.interception_id)) is not None:
            following.tools.append((record.id, record.tool))

    async def record_model_thought(self, record: ModelThoughtRecord) -> None:
        await self._noting("thought", self._inner.record_model_thought(record))

    async def _noting(self, kind: Kind, recording: Awaitable[None]) -> None:
        """Counts it when the inner recorder fails, and raises what that one raises."""
        try:
            await recording
        except (RecordingFailed, asyncio.CancelledError):  # cancelled: it took too long
            self._incidents.recording_failures.labels(kind).inc()
            raise

"""Keeps records in the SQLite file, through its one writer thread. A start and an end return when they are durable.

What cannot be kept follows the `fail` policy:
`closed`      a start that cannot be kept is refused, and so the request; nothing goes upstream unrecorded
`usage-only`  as `closed`, but content gives way first: starts, ends and tokens get what room there is
`open`        requests go on; what was not recorded is counted
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from sys import getsizeof
from typing import Literal

from aibridge.database import lineage
from aibridge.database.inbox import Entry
from aibridge.database.writer import Writer
from aibridge.errors import RecordingFailed
from aibridge.recorders import rows
from aibridge.recorders.rows import Allowance, Limits
from aibridge.recorders.text import json_of
from aibridge.records import (
    AnyRecord,
    InterceptionRecord,
    InterceptionRecordEnded,
    ModelThoughtRecord,
    PromptUsageRecord,
    TokenUsageRecord,
    ToolUsageRecord,
)

Fail = Literal["closed", "usage-only", "open"]

RESERVE = 4096  # bytes kept free for each open interception's usage and end
PATIENCE = 5.0  # seconds that a start or an end is waited for
_ROW = 1024  # bytes; about what a record without content holds while it waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Which content is kept. A tool call without its arguments is still on record; prompts and thoughts are not."""

    prompts: bool = True
    tool_arguments: bool = True
    thoughts: bool = True


@dataclass(slots=True)
class NotRecorded:
    """What was left out, in records, since the start."""

    interceptions: int = 0  # with all that belongs to them
    ends: int = 0
    usages: int = 0
    content: int = 0


def _look_away(_: AnyRecord) -> None:
    """Nobody wants to know."""


class _TooLate(RecordingFailed):
    """The record is in the queue and may still be kept; nobody can wait for it any longer."""


@dataclass(slots=True)
class _Open:
    """An interception between its start and its durable end."""

    initiator_id: str
    allowance: Allowance
    called_tools: bool = False
    end: InterceptionRecordEnded | None = None


class SqliteRecorder:
    """The `Recorder` of the server; see the module for what `fail` means.

    `left_out` is told of every record that is not kept, or not durable, although its method returned; when that is
    known later, in the writer thread, and before the interception's end is durable.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        boot_id: str,
        fail: Fail = "closed",
        limits: Limits | None = None,
        content: Content | None = None,
        patience: float = PATIENCE,
        left_out: Callable[[AnyRecord], None] | None = None,
    ) -> None:
        self._writer = writer
        self._boot_id = boot_id
        self._fail = fail
        self._limits = limits or Limits()
        self._content = content or Content()
        self._patience = patience
        self._left_out = left_out or _look_away
        self._open: dict[str, _Open] = {}
        self.not_recorded = NotRecorded()

    async def record_interception(self, record: InterceptionRecord) -> None:
        why_unhealthy = self._writer.why_unhealthy
        if why_unhealthy is not None and self._fail == "closed":
            raise RecordingFailed(why_unhealthy)
        waiter = asyncio.get_running_loop().create_future()
        size = _ROW + len(record.model) + len(record.user_agent or "")
        entry = Entry(rows.INTERCEPTION, partial(rows.interception, record, self._boot_id), size, waiter)
        try:
            if not self._writer.offer(entry, reserve=RESERVE):
                raise RecordingFailed("the queue of records is full")
            self._open[record.id] = _Open(record.initiator_id, self._allowance())
            if record.correlating_tool_call_id is not None:
                self._writer.put_later(lineage.find_parents, record.id)
            # Whom `open` serves in spite of everything must not wait for a disk that is known to be in trouble.
            if why_unhealthy is None or self._fail != "open":
                await self._durable(waiter)
            else:
                self._left_out(record)
        except RecordingFailed as error:
            self._not_begun(record, error)
        except asyncio.CancelledError:
            # The caller cannot know whether the start was kept, so nobody else would end it.
            self._abort(record, "cancelled", "the request was cancelled before it went upstream")
            raise

    async def record_interception_ended(self, record: InterceptionRecordEnded) -> None:
        state = self._open.get(record.interception_id)
        if state is not None:
            if state.end is None:
                state.end = record
                if state.called_tools:
                    self._writer.put_later(lineage.adopt_waiting, record.interception_id)
            record = state.end  # the first end stays, also while it is on its way
        waiter = asyncio.get_running_loop().create_future()
        try:
            self._writer.put(Entry(rows.ENDED, partial(rows.ended, record), _ROW, waiter))
            if self._fail != "open" or self._writer.why_unhealthy is None:
                await self._durable(waiter)
            else:
                self._left_out(record)
        except RecordingFailed as error:
            if self._fail != "open":
                raise
            self._left_out(record)
            self.not_recorded.ends += not isinstance(error, _TooLate)
        finally:
            self._forget(record.interception_id)

    async def record_token_usage(self, record: TokenUsageRecord) -> None:
        try:
            entry = Entry(rows.TOKEN_USAGE, partial(rows.token_usage, record), _ROW)
            entry.given_up = partial(self._left_out, record)
            self._writer.put(entry)
        except RecordingFailed:
            if self._fail != "open":
                raise
            self.not_recorded.usages += 1
            self._left_out(record)

    async def record_prompt_usage(self, record: PromptUsageRecord) -> None:
        if self._content.prompts:
            allowance = self._allowance_of(record.interception_id)
            size = _ROW + getsizeof(record.prompt)
            self._offer(record, Entry(rows.PROMPT, partial(rows.prompt, record, allowance), size))
        else:
            self._left_out(record)

    async def record_tool_usage(self, record: ToolUsageRecord) -> None:
        arguments = json_of(record.input) if self._content.tool_arguments and record.input is not None else None
        state = self._open.get(record.interception_id)
        if state is not None and record.tool_call_id is not None:
            state.called_tools = True
        initiator_id = None if state is None else state.initiator_id
        allowance = self._allowance_of(record.interception_id)
        self._offer(
            record,
            Entry(
                rows.TOOL_USAGE,
                partial(rows.tool_usage, record, allowance, initiator_id, arguments),
                _ROW + (0 if arguments is None else getsizeof(arguments)),
            ),
        )

    async def record_model_thought(self, record: ModelThoughtRecord) -> None:
        if self._content.thoughts:
            allowance = self._allowance_of(record.interception_id)
            size = _ROW + getsizeof(record.content)
            self._offer(record, Entry(rows.THOUGHT, partial(rows.thought, record, allowance), size))
        else:
            self._left_out(record)

    def _offer(self, record: AnyRecord, entry: Entry) -> None:
        """Content, which gives way when the queue is full."""
        entry.given_up = partial(self._left_out, record)
        try:
            if self._writer.offer(entry):
                return
        except RecordingFailed:
            if self._fail == "closed":
                raise
        self.not_recorded.content += 1
        self._left_out(record)

    async def _durable(self, waiter: asyncio.Future[None]) -> None:
        timer = asyncio.get_running_loop().call_later(self._patience, _give_up, waiter, self._patience)
        try:
            await waiter
        finally:
            timer.cancel()

    def _not_begun(self, record: InterceptionRecord, error: RecordingFailed) -> None:
        """Raises `error`, unless the policy is to go on without a record."""
        if self._fail == "open":
            self.not_recorded.interceptions += not isinstance(error, _TooLate)
            self._left_out(record)
            return
        if isinstance(error, _TooLate):
            # The start may yet be written. The client has its 503 by then, so the record must say the same.
            self._abort(record, "recording_failed", str(error))
        else:
            self._forget(record.id)
        raise error

    def _abort(self, record: InterceptionRecord, error_type: str, message: str) -> None:
        end = InterceptionRecordEnded(
            interception_id=record.id,
            ended_at=record.started_at,
            state="gateway_aborted",
            http_status=503,
            error_type=error_type,
            error_message=message,
        )
        with suppress(RecordingFailed):
            self._writer.put(Entry(rows.ENDED, partial(rows.ended, end), _ROW))
        self._forget(record.id)

    def _forget(self, interception_id: str) -> None:
        if self._open.pop(interception_id, None) is not None:
            self._writer.release(RESERVE)

    def _allowance(self) -> Allowance:
        return Allowance(self._limits, self._limits.per_interception)

    def _allowance_of(self, interception_id: str) -> Allowance:
        state = self._open.get(interception_id)
        return self._allowance() if state is None else state.allowance


def _give_up(waiter: asyncio.Future[None], patience: float) -> None:
    if not waiter.done():
        waiter.set_exception(_TooLate(f"the record was not durable within {patience:g} s"))

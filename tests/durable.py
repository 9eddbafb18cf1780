"""What the tests of durable records share: records, a database, a clock that they set, and bounded waits."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aibridge.clock import new_id
from aibridge.database.files import DatabaseFile
from aibridge.database.upgrade import bring_up_to_date
from aibridge.database.writer import CAPACITY, Writer
from aibridge.recorders.rows import Limits
from aibridge.recorders.sqlite import Content, Fail, SqliteRecorder
from aibridge.records import (
    InterceptionRecord,
    InterceptionRecordEnded,
    JsonValue,
    ModelThoughtRecord,
    PromptUsageRecord,
    State,
    TokenUsageRecord,
    ToolUsageRecord,
)

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
BOUND = 20.0  # seconds; the machines that run this are shared


@dataclass
class SetClock:
    """Stands still until it is moved."""

    time: datetime = START
    seconds: float = 0.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.seconds += seconds


def database(path: Path) -> DatabaseFile:
    """An up-to-date database in a folder."""
    file = DatabaseFile.at(path / "aibridge.db")
    bring_up_to_date(file)
    return file


@dataclass
class Recording:
    """A recorder with its writer, at work."""

    file: DatabaseFile
    writer: Writer
    recorder: SqliteRecorder

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        return rows(self.file, query, *values)


@asynccontextmanager
async def recording(
    path: Path,
    *,
    fail: Fail = "closed",
    limits: Limits | None = None,
    content: Content | None = None,
    capacity: int = CAPACITY,
    patience: float = BOUND,
    boot_id: str = "boot",
) -> AsyncIterator[Recording]:
    file = database(path)
    writer = Writer(file, SetClock(), capacity=capacity, give_up_content=fail == "usage-only")
    writer.start()
    recorder = SqliteRecorder(writer, boot_id=boot_id, fail=fail, limits=limits, content=content, patience=patience)
    try:
        yield Recording(file, writer, recorder)
    finally:
        assert await writer.close(), "the writer thread did not end"


def rows(file: DatabaseFile, query: str, *values: str) -> list[tuple[Any, ...]]:
    """What another process would read now."""
    with closing(sqlite3.connect(file.path)) as connection:
        return connection.execute(query, values).fetchall()


async def until(condition: Callable[[], bool]) -> None:
    """Returns when the condition holds; what it waits for happens in another thread or process."""
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


def interception(
    interception_id: str | None = None,
    *,
    initiator: str = "alice",
    at: float = 0.0,
    model: str = "claude-sonnet-4-5",
    carries: str | None = None,
    session: str | None = None,
) -> InterceptionRecord:
    """A start; `carries` is the id of the tool call whose result it brings, `at` seconds after the start of time."""
    return InterceptionRecord(
        id=interception_id or new_id(),
        initiator_id=initiator,
        metadata={"username": initiator},
        model=model,
        provider="anthropic",
        provider_name="anthropic",
        dialect="messages",
        route="/v1/messages",
        streaming=True,
        started_at=START + timedelta(seconds=at),
        client="Claude Code",
        client_session_id=session,
        user_agent="claude-cli/2.0",
        correlating_tool_call_id=carries,
        credential_kind="centralized",
        credential_hint="sk-a...efgh",
        upstream_user=initiator,
    )


def ended(interception_id: str, state: State = "completed", *, at: float = 5.0) -> InterceptionRecordEnded:
    return InterceptionRecordEnded(
        interception_id=interception_id,
        ended_at=START + timedelta(seconds=at),
        state=state,
        http_status=200,
        time_to_first_byte=0.25,
    )


def usage(interception_id: str, *, output: int = 61, at: float = 1.0) -> TokenUsageRecord:
    return TokenUsageRecord(
        id=new_id(),
        interception_id=interception_id,
        provider_response_id="msg_1",
        input_tokens=12,
        output_tokens=output,
        cache_read_tokens=2000,
        cache_write_tokens=100,
        extra={"cache_ephemeral_5m_input": 100},
        model="model-that-answered",
        created_at=START + timedelta(seconds=at),
    )


def prompt(interception_id: str, text: str = "please mend the parser") -> PromptUsageRecord:
    return PromptUsageRecord(
        id=new_id(), interception_id=interception_id, provider_response_id="msg_1", prompt=text, created_at=START
    )


def tool(
    interception_id: str, call: str | None = "toolu_1", *, arguments: JsonValue = None, at: float = 1.0
) -> ToolUsageRecord:
    return ToolUsageRecord(
        id=new_id(),
        interception_id=interception_id,
        provider_response_id="msg_1",
        tool_call_id=call,
        tool="Read",
        input=arguments,
        created_at=START + timedelta(seconds=at),
    )


def thought(interception_id: str, text: str = "the parser splits too early") -> ModelThoughtRecord:
    return ModelThoughtRecord(
        id=new_id(), interception_id=interception_id, content=text, source="thinking", created_at=START
    )

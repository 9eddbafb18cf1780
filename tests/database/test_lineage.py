"""Who follows whom, found after arrival, always among one person's interceptions."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from aibridge.database import lineage
from aibridge.records import InterceptionRecord
from tests.durable import BOUND, Recording, ended, interception, recording, rows, tool

pytestmark = pytest.mark.anyio

LINKS = "SELECT id, thread_parent_id, thread_root_id, session_id FROM aibridge_interceptions ORDER BY id"


async def told(at_work: Recording, record: InterceptionRecord, *calls: str, at: float = 0.0) -> None:
    """One interception from start to end, whose model makes `calls`, `at` seconds after the start of time."""
    await at_work.recorder.record_interception(record)
    for call in calls:
        await at_work.recorder.record_tool_usage(tool(record.id, call, at=at))
    await at_work.recorder.record_interception_ended(ended(record.id))


async def linked(at_work: Recording, *expected: tuple[str, str | None, str | None, str]) -> None:
    """Fails unless the links are these, after all work that could wait."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def last(connection: sqlite3.Connection, keys: Sequence[str]) -> None:
        loop.call_soon_threadsafe(done.set_result, None)

    at_work.writer.put_later(last, "")
    await asyncio.wait_for(done, BOUND)
    assert at_work.rows(LINKS) == list(expected)


async def test_a_request_that_carries_a_result_follows_the_one_that_called(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        await told(at_work, interception("a"), "call_1", at=1)
        await told(at_work, interception("b", at=2, carries="call_1"), "call_2", "call_3", at=3)
        await told(at_work, interception("c", at=4, carries="call_3"))

        await linked(at_work, ("a", None, None, "a"), ("b", "a", "a", "a"), ("c", "b", "a", "a"))


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
async def test_late_parents_are_found_in_whatever_order_they_arrive(tmp_path: Path, order: tuple[str, ...]) -> None:
    records = {
        "a": (interception("a"), ["call_1"], 1.0),
        "b": (interception("b", at=2, carries="call_1"), ["call_2"], 3.0),
        "c": (interception("c", at=4, carries="call_2"), [], 5.0),
    }
    async with recording(tmp_path) as at_work:
        for name in order:
            record, calls, at = records[name]
            await told(at_work, record, *calls, at=at)

        await linked(at_work, ("a", None, None, "a"), ("b", "a", "a", "a"), ("c", "b", "a", "a"))


async def test_another_persons_call_of_the_same_id_is_no_parent(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        await told(at_work, interception("a", initiator="alice"), "call_0", at=1)
        await told(at_work, interception("b", initiator="bob", at=2, carries="call_0"))
        await told(at_work, interception("c", initiator="bob", at=0), "call_9", at=1)
        await told(at_work, interception("d", initiator="alice", at=2, carries="call_9"))

        await linked(
            at_work, ("a", None, None, "a"), ("b", None, None, "b"), ("c", None, None, "c"), ("d", None, None, "d")
        )


async def test_of_ids_that_repeat_the_latest_call_before_the_request_counts(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        await told(at_work, interception("a"), "call_0", at=1)
        await told(at_work, interception("b", at=2), "call_0", at=3)
        await told(at_work, interception("d", at=6), "call_0", at=7)
        await told(at_work, interception("c", at=4, carries="call_0"))

        await linked(
            at_work, ("a", None, None, "a"), ("b", None, None, "b"), ("c", "b", "b", "b"), ("d", None, None, "d")
        )


async def test_the_clients_own_session_stays_the_session(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        await told(at_work, interception("a", session="s"), "call_1", at=1)
        await told(at_work, interception("b", at=2, carries="call_1"), "call_2", at=3)
        await told(at_work, interception("c", at=4, carries="call_2", session="s"))

        await linked(at_work, ("a", None, None, "s"), ("b", "a", "a", "a"), ("c", "b", "a", "s"))


async def test_a_circle_is_never_closed(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        # Times that cannot be: each brings the result of the other's call.
        await told(at_work, interception("a", at=5, carries="call_2"), "call_1", at=1)
        await told(at_work, interception("b", at=5, carries="call_1"), "call_2", at=1)
        await told(at_work, interception("c", at=5, carries="call_3"), "call_3", at=1)

        await linked(at_work, ("a", None, None, "a"), ("b", "a", "a", "a"), ("c", None, None, "c"))


async def test_what_was_left_undone_is_found_at_the_next_start(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        await told(at_work, interception("a"), "call_1", at=1)
        await told(at_work, interception("b", at=2, carries="call_1"))
        await told(at_work, interception("c", at=2, carries="call_of_somebody_else"))
    with at_work.file.writing() as connection:  # as if the process had died before the quiet moment
        connection.execute("UPDATE aibridge_interceptions SET thread_parent_id = NULL, thread_root_id = NULL")

    with closing(at_work.file.reading()) as connection:
        undone = lineage.unresolved(connection)
    assert sorted(undone) == ["b", "c"]
    with at_work.file.writing() as connection:
        lineage.find_parents(connection, undone)
    assert rows(at_work.file, LINKS)[1] == ("b", "a", "a", "a")


async def test_parents_and_children_are_looked_up_by_index(tmp_path: Path) -> None:
    async with recording(tmp_path) as at_work:
        plans = [
            step[-1]
            for query in (lineage._PARENT, lineage._WAITING, lineage._LINK, lineage._MOVE)
            for step in at_work.rows(f"EXPLAIN QUERY PLAN {query}", *["x"] * query.count("?"))
        ]

    assert [step for step in plans if "SCAN" in step] == []
    assert any(
        "aibridge_tool_usages_call (initiator_id=? AND tool_call_id=? AND created_at<?)" in step for step in plans
    )
    assert any("aibridge_interceptions_waiting" in step for step in plans)

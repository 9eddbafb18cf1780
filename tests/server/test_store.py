"""Everything durable of one process: opened whole, closed whole, and what a dead one left is ended on the way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from aibridge.clock import new_id
from aibridge.database.files import DatabaseUnusable
from aibridge.server.sealing import Sealing
from aibridge.server.store import Store, open_store
from aibridge.server.watching import failure_of
from tests.durable import BOUND, SetClock, ended, interception, rows, tool, usage

pytestmark = pytest.mark.anyio

LEFT_OPEN = """
import asyncio, sys
from aibridge.clock import SystemClock, new_id
from aibridge.server.sealing import Sealing
from aibridge.server.store import open_store
from tests.durable import interception
async def main():
    async with open_store(sys.argv[1], hash_key=bytes(32), cipher=Sealing(bytes(32)), clock=SystemClock(), ids=new_id) as store:
        await store.recorder.record_interception(interception("left-open"))
        print("recorded", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
LIMITED = """
import asyncio, resource, sys
from aibridge.clock import SystemClock, new_id
from aibridge.errors import RecordingFailed
from aibridge.server.sealing import Sealing
from aibridge.server.store import open_store
from tests.durable import ended, interception, prompt
async def main():
    async with open_store(sys.argv[1], hash_key=bytes(32), cipher=Sealing(bytes(32)), clock=SystemClock(), ids=new_id) as store:
        recorder = store.recorder
        await recorder.record_interception(interception("kept"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))  # from here the disk fails a write
        await recorder.record_prompt_usage(prompt("kept", "x" * 500_000))
        outcome = []
        for attempt in (recorder.record_interception_ended(ended("kept")), recorder.record_interception(interception())):
            try:
                await attempt
                outcome.append("kept")
            except RecordingFailed as error:
                outcome.append("failed")
        print(outcome, store.healthy, store.has_failed, store.why_unhealthy)
    print(store.statistics().lost, store.has_failed)
asyncio.run(main())
"""
CHECKOUT = Path(__file__).resolve().parents[2]


def opened(path: Path) -> AbstractAsyncContextManager[Store]:
    return open_store(path / "aibridge.db", hash_key=bytes(32), cipher=Sealing(bytes(32)), clock=SetClock(), ids=new_id)


async def test_what_was_recorded_is_there_after_closing_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.recorder.record_interception(interception("i"))
        await store.recorder.record_token_usage(usage("i"))
        await store.recorder.record_interception_ended(ended("i"))
        await store.conversations.own("openai", ["resp_1"], "alice")
        store.people.create_user("alice")
        assert store.healthy

    assert rows(store.file, "SELECT id, state, boot_id FROM aibridge_interceptions") == [
        ("i", "completed", store.boot_id)
    ]
    assert sorted(os.listdir(tmp_path)) == ["aibridge.db", "aibridge.db.locks"]
    assert sorted(os.listdir(tmp_path / "aibridge.db.locks")) == ["held.changes", "people.changes", "write"]
    assert rows(store.file, "SELECT ended_at IS NULL FROM aibridge_boots") == [(0,)]
    assert (store.why_unhealthy, store.statistics().lost) == (None, 0)


async def test_state_outlives_the_process(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        store.people.create_user("alice")
        made = store.people.create_key("alice", name="laptop")
        await store.conversations.own("openai", ["resp_1"], "alice")
    async with opened(tmp_path) as store:
        assert not isinstance(store.people.identify(made.secret), str)
        assert await store.conversations.owner("openai", "resp_1") == "alice"


async def test_opening_ends_what_a_killed_process_left_open(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LEFT_OPEN, str(tmp_path / "aibridge.db")]
    process = await asyncio.create_subprocess_exec(*command, cwd=CHECKOUT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(BOUND):
        assert await process.stdout.readline() == b"recorded\n"
        async with opened(tmp_path) as store:  # it lives: nothing to recover
            assert store.recovered == 0
        process.kill()
        await process.wait()
    async with opened(tmp_path) as store:
        assert store.recovered == 1
        assert rows(store.file, "SELECT id, state FROM aibridge_interceptions") == [("left-open", "recovered")]


async def test_lineage_that_was_left_undone_is_done_after_opening(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.recorder.record_interception(interception("a"))
        await store.recorder.record_tool_usage(tool("a", "call_1", at=1))
        await store.recorder.record_interception_ended(ended("a"))
        await store.recorder.record_interception(interception("b", at=2, carries="call_1"))
        await store.recorder.record_interception_ended(ended("b"))
    with store.file.writing() as connection:
        connection.execute("UPDATE aibridge_interceptions SET thread_parent_id = NULL")
    async with opened(tmp_path):
        pass

    assert rows(store.file, "SELECT thread_parent_id FROM aibridge_interceptions WHERE id = 'b'") == [("a",)]


async def test_a_disk_that_fails_a_write_is_never_written_to_again(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "aibridge.db")]
    process = await asyncio.create_subprocess_exec(*command, cwd=CHECKOUT, stdout=subprocess.PIPE)
    said, _ = await asyncio.wait_for(process.communicate(), BOUND)

    assert process.returncode == 0
    first, second = said.decode().splitlines()
    assert first.startswith("['failed', 'failed'] False True the database failed: disk I/O error")
    assert second == "2 True"
    async with opened(tmp_path) as store:  # what was promised before is there, and the rest is recovered
        assert store.recovered == 1
        assert rows(store.file, "PRAGMA integrity_check") == [("ok",)]
        assert rows(store.file, "SELECT id, state FROM aibridge_interceptions") == [("kept", "recovered")]


@pytest.mark.parametrize("what", ["removed", "replaced"])
async def test_a_database_that_is_not_where_it_was_is_noticed(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever removes or replaces the file of a running server would never find what is written then."""
    path = tmp_path / "aibridge.db"
    async with opened(tmp_path) as store:
        before = store.is_displaced
        path.rename(tmp_path / "away")
        if what == "replaced":
            path.touch()
        async with asyncio.timeout(BOUND):
            await failure_of(store, every=0.01)
        after = store.is_displaced
        (tmp_path / "away").rename(path)

    assert (before, after, store.is_displaced) == (False, True, False)
    assert [record.message for record in caplog.records] == [
        "the database file was moved, removed or replaced: draining"
    ]


async def test_a_lock_that_cannot_be_taken_is_said(tmp_path: Path) -> None:
    """As where somebody else, such as root, began with a database that is not theirs."""
    (tmp_path / "aibridge.db.locks" / "write").mkdir(parents=True)

    with pytest.raises(DatabaseUnusable, match=r"aibridge\.db\.locks/write cannot be written: Is a directory"):
        async with opened(tmp_path):
            pass


async def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "aibridge.db").mkdir()

    with pytest.raises(DatabaseUnusable, match="cannot be written"):
        async with opened(tmp_path):
            pass

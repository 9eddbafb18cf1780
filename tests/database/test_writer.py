"""The writer thread: one commit for everybody, all or nothing, and no silence when it cannot go on."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from aibridge.database.checkpoints import LONG_LOG, Log
from aibridge.database.files import DatabaseFile
from aibridge.database.inbox import Entry
from aibridge.database.statements import Row, insert
from aibridge.database.writer import LINGER, STUCK_AFTER, Writer
from aibridge.errors import RecordingFailed
from tests.durable import BOUND, SetClock, rows, until

pytestmark = pytest.mark.anyio

NOTE = insert("notes", "id text", rank=0)
CONTENT = insert("notes", "id text", rank=0, content=True)


def itself(row: Row) -> Row:
    return row


def note(key: int, text: str = "x", waiter: asyncio.Future[None] | None = None, *, content: bool = False) -> Entry:
    return Entry(CONTENT if content else NOTE, partial(itself, (key, text)), 100, waiter)


def waiting() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


def notes(path: Path) -> DatabaseFile:
    file = DatabaseFile.at(path / "notes.db")
    with file.writing() as connection:
        connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    return file


async def started(
    file: DatabaseFile, clock: SetClock | None = None, *, give_up_content: bool = False, linger: float = LINGER
) -> Writer:
    writer = Writer(file, clock or SetClock(), give_up_content=give_up_content, linger=linger)
    writer.start()
    return writer


async def test_many_who_wait_share_few_commits(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    waiters = [waiting() for _ in range(500)]
    with closing(file.write_lock()) as lock, lock:  # nothing is committed while these come in
        for key, waiter in enumerate(waiters):
            writer.put(note(key, waiter=waiter))
    await asyncio.wait_for(asyncio.gather(*waiters), BOUND)

    assert writer.statistics().commits <= 2
    assert writer.statistics().rows == 500
    assert rows(file, "SELECT count(*) FROM notes") == [(500,)]
    assert await writer.close()


async def test_while_somebody_will_wait_a_row_that_nobody_waits_for_shares_the_next_commit(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file, linger=BOUND)
    begun, ended = waiting(), waiting()
    assert writer.offer(note(1, waiter=begun), reserve=100)
    await asyncio.wait_for(begun, BOUND)
    for key in range(2, 20):
        writer.put(note(key))
        await asyncio.sleep(0)  # the writer's thread may run
    writer.put(note(20, waiter=ended))
    await asyncio.wait_for(ended, BOUND)

    assert writer.statistics().commits == 2
    assert rows(file, "SELECT count(*) FROM notes") == [(20,)]
    assert await writer.close()


async def test_a_row_that_nobody_waits_for_does_not_lie_for_long(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file, linger=0.01)
    begun = waiting()
    assert writer.offer(note(1, waiter=begun), reserve=100)
    await asyncio.wait_for(begun, BOUND)
    writer.put(note(2))
    await until(lambda: writer.statistics().rows == 2)

    writer.release(100)
    assert await writer.close()


async def test_who_is_told_can_read_it_from_elsewhere(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    for key in range(50):
        waiter = waiting()
        writer.put(note(key, waiter=waiter))
        await asyncio.wait_for(waiter, BOUND)

        assert rows(file, "SELECT max(id) FROM notes") == [(key,)]
    assert await writer.close()


async def test_a_row_that_the_database_refuses_keeps_no_other_out(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    waiters = [waiting() for _ in range(5)]
    bad: list[Row] = [(1, None), (2, 2**70), (3, object()), (4, "\ud800")]  # type: ignore[list-item] # what no row may hold
    with closing(file.write_lock()) as lock, lock:
        writer.put(note(0, waiter=waiters[0]))
        for row, waiter in zip(bad, waiters[1:], strict=True):
            writer.put(Entry(NOTE, partial(itself, row), 100, waiter))
        writer.put(Entry(NOTE, partial(int, "no number"), 100))  # type: ignore[arg-type] # a record that makes no row
        writer.put(note(9))
    outcomes = await asyncio.wait_for(asyncio.gather(*waiters, return_exceptions=True), BOUND)
    assert await writer.close()

    assert outcomes[0] is None
    assert [type(outcome) for outcome in outcomes[1:]] == [RecordingFailed] * 4
    assert rows(file, "SELECT id FROM notes ORDER BY id") == [(0,), (9,)]
    assert writer.statistics().refused == 5
    assert writer.statistics().held == 0


async def test_the_same_row_twice_is_there_once(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    writer.put(note(1, "first"))
    waiter = waiting()
    writer.put(note(1, "second", waiter))
    await asyncio.wait_for(waiter, BOUND)
    assert await writer.close()

    assert rows(file, "SELECT text FROM notes") == [("first",)]


async def test_a_full_disk_is_waited_out_and_nothing_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    pages = writer._connection.execute("PRAGMA max_page_count = 3").fetchone()
    waiters = [waiting() for _ in range(20)]
    for key, waiter in enumerate(waiters):
        writer.put(note(key, "x" * 4000, waiter, content=True))
    await until(lambda: writer.why_unhealthy is not None)

    assert pages == (3,)
    assert "SQLITE_FULL" in str(writer.why_unhealthy)
    assert not any(waiter.done() for waiter in waiters)
    writer.put(note(99))
    writer._connection.execute("PRAGMA max_page_count = 1000")
    await asyncio.wait_for(asyncio.gather(*waiters), BOUND)
    assert writer.why_unhealthy is None
    assert await writer.close()
    assert rows(file, "SELECT count(*) FROM notes") == [(21,)]
    assert [record.message for record in caplog.records] == [
        "the database takes no records for the moment",
        "the database takes records again",
    ]


async def test_content_gives_way_on_a_full_disk_where_that_is_the_rule(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file, give_up_content=True)
    writer._connection.execute("PRAGMA max_page_count = 3")
    kept = waiting()
    with closing(file.write_lock()) as lock, lock:
        for key in range(20):
            writer.put(note(key, "x" * 4000, content=True))
        writer.put(note(99, waiter=kept))
    await asyncio.wait_for(kept, BOUND)
    assert await writer.close()

    assert rows(file, "SELECT id FROM notes") == [(99,)]
    assert writer.statistics().content_given_up == 20
    assert writer.why_unhealthy is None


async def test_closing_on_a_full_disk_tells_those_who_wait(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    writer._connection.execute("PRAGMA max_page_count = 3")
    waiter = waiting()
    writer.put(note(1, "x" * 20_000, waiter))
    await until(lambda: writer.why_unhealthy is not None)
    assert await writer.close()

    with pytest.raises(RecordingFailed, match=r"closed while .*full"):
        await asyncio.wait_for(waiter, BOUND)
    assert writer.statistics().lost == 1


async def test_another_program_that_holds_the_database_is_waited_for(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    waiter = waiting()
    with closing(sqlite3.connect(file.path, isolation_level=None)) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        writer.put(note(1, waiter=waiter))
        await until(lambda: writer.why_unhealthy is not None)
        assert "SQLITE_BUSY" in str(writer.why_unhealthy)
        stranger.execute("ROLLBACK")
    await asyncio.wait_for(waiter, BOUND)

    assert writer.why_unhealthy is None
    assert await writer.close()


async def test_a_commit_that_takes_too_long_is_unhealthy(tmp_path: Path) -> None:
    file, clock = notes(tmp_path), SetClock()
    writer = await started(file, clock)
    waiter = waiting()
    with closing(file.write_lock()) as lock, lock:
        writer.put(note(1, waiter=waiter))
        await until(lambda: writer._busy_since is not None)
        said = [writer.why_unhealthy]
        clock.advance(STUCK_AFTER + 1)
        said.append(writer.why_unhealthy)
    await asyncio.wait_for(waiter, BOUND)
    said.append(writer.why_unhealthy)

    assert said == [None, "the disk has not taken a commit for 5 s", None]
    assert await writer.close()


async def test_closing_writes_what_waits_and_leaves_one_file(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    for key in range(1000):
        writer.put(note(key))
    assert await writer.close()

    assert not file.log.exists()
    assert rows(file, "SELECT count(*) FROM notes") == [(1000,)]
    with pytest.raises(RecordingFailed, match="closed"):
        writer.put(note(1001))


async def test_a_record_is_kept_although_the_event_loop_that_waited_is_gone(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)

    async def leave() -> None:
        writer.put(note(1, waiter=asyncio.get_running_loop().create_future()))

    with closing(file.write_lock()) as lock, lock:
        await asyncio.to_thread(asyncio.run, leave())  # its loop is closed before the commit
    waiter = waiting()
    writer.put(note(2, waiter=waiter))
    await asyncio.wait_for(waiter, BOUND)

    assert rows(file, "SELECT count(*) FROM notes") == [(2,)]
    assert await writer.close()


async def test_work_that_can_wait_is_done_after_what_came_before_it(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    seen: list[tuple[list[str], int]] = []

    def count(connection: sqlite3.Connection, keys: Sequence[str]) -> None:
        [found] = connection.execute("SELECT count(*) FROM notes").fetchone()
        seen.append((list(keys), found))

    for key in range(100):
        writer.put(note(key))
        writer.put_later(count, str(key))
    await until(lambda: sum(len(keys) for keys, _ in seen) == 100)
    assert await writer.close()

    assert all(len(keys) <= 64 for keys, _ in seen)
    assert all(found > int(keys[-1]) for keys, found in seen)


async def test_a_quiet_moment_empties_the_log_into_the_database(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    waiter = waiting()
    writer.put(note(1, waiter=waiter))
    await asyncio.wait_for(waiter, BOUND)
    await until(lambda: writer.statistics().checkpoints == 1)

    with closing(sqlite3.connect(f"{file.path.as_uri()}?immutable=1", uri=True)) as without_log:
        assert without_log.execute("SELECT count(*) FROM notes").fetchone() == (1,)
    assert await writer.close()


async def test_a_quiet_moment_begins_the_log_anew_so_that_the_next_commit_need_not(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    waiter = waiting()
    writer.put(note(1, "x" * 100_000, waiter=waiter))
    await asyncio.wait_for(waiter, BOUND)
    with closing(Log(file.log, 4096)) as log:
        assert log.length() > 100_000
        begun = file.log.read_bytes()[:32]
        await until(lambda: writer.statistics().checkpoints == 1)
        header, length = file.log.read_bytes()[:32], log.length()
        waiter = waiting()
        writer.put(note(2, waiter=waiter))
        await asyncio.wait_for(waiter, BOUND)

        assert header != begun, "begun anew"
        assert length == 4096 + 24, "by a commit of one page"
        assert file.log.read_bytes()[:32] == header, "not once more"
        assert log.length() > length
    assert await writer.close()


async def test_the_log_stays_short_under_load(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    for batch in range(40):
        waiter = waiting()
        for key in range(20):
            writer.put(note(batch * 20 + key, "x" * 100_000))
        writer.put(note(10_000 + batch, waiter=waiter))
        await asyncio.wait_for(waiter, BOUND)
    longest = file.log.stat().st_size
    assert await writer.close()

    # 80 MB went through it; it is looked at every 8 commits.
    assert LONG_LOG < longest < 3 * LONG_LOG


def test_the_length_of_the_log_is_what_sqlite_says(tmp_path: Path) -> None:
    file = notes(tmp_path)
    frame = 4096 + 24
    with closing(file.connection()) as connection, closing(Log(file.log, 4096)) as log:
        lengths = []
        for count in (3, 150, 1, 40, 700):  # after each the log is copied, so that the next begins it anew
            for key in range(count):
                connection.execute("INSERT INTO notes (text) VALUES (?)", (f"{key}" * (key * 7),))
                if key % 40 == 5:
                    log.length()  # looked at under way
            lengths.append(log.length())
            [(_, frames, _)] = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            assert lengths[-1] == frames * frame

    assert lengths[2] < lengths[0] < lengths[3] < lengths[1] < lengths[4]


async def test_the_log_grows_ahead_of_what_is_written_and_loses_nothing(tmp_path: Path) -> None:
    file = notes(tmp_path)
    writer = await started(file)
    sizes: list[int] = []
    for key in range(64):
        waiter = waiting()
        writer.put(note(key, "x" * 10_000, waiter))
        await asyncio.wait_for(waiter, BOUND)
        sizes.append(file.log.stat().st_size)
    with closing(Log(file.log, 4096)) as log:
        in_use = log.length()
    copied = tmp_path / "after a kill.db"  # the files as a process leaves them that is killed now
    copied.write_bytes(file.path.read_bytes())
    copied.with_name(copied.name + "-wal").write_bytes(file.log.read_bytes())
    assert await writer.close()

    assert sizes[-1] > 1.25 * in_use, "there is room"
    assert len(set(sizes)) <= 12, "seldom grown: five times, and each may be seen half-way"
    with closing(sqlite3.connect(copied)) as connection:
        assert connection.execute("SELECT count(*), sum(length(text)) FROM notes").fetchone() == (64, 640_000)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_log_is_not_grown_where_the_disk_has_little_to_spare(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(bytes(1000))
    with closing(Log(path, 4096)) as log:
        assert log.length() == 0, "zeros are no frames"
        assert not log.grow(1 << 50)
        assert path.stat().st_size == 1000
        assert log.grow(2000)
    assert path.read_bytes() == bytes(2000)

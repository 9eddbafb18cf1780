"""Logins in the file: unreadable there, each good in its own place only, seen by every process, taken once."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest

from aibridge.clock import new_id
from aibridge.errors import RecordingFailed
from aibridge.server.sealing import Sealing
from aibridge.stores.logins import SqliteLogins
from tests.durable import SetClock, database

pytestmark = pytest.mark.anyio
OF = ("login", "alice", "wiki")


class Desk:
    """A file, and stores of it as several processes have them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.file, self.clock, self._stack = database(folder), SetClock(), stack

    def store(self, key: bytes = b"k" * 32) -> SqliteLogins:
        made = SqliteLogins(self.file, cipher=Sealing(key), clock=self.clock, ids=new_id)
        return self._stack.enter_context(closing(made))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(tmp_path, stack)


def test_what_one_process_keeps_another_reads_and_notices(desk: Desk) -> None:
    one, other = desk.store(), desk.store()
    before = other.seen()
    one.write(*OF, b"first")
    one.write(*OF, b"second")

    assert other.read(*OF) == b"second"
    assert other.seen() != before
    assert other.read("login", "bob", "wiki") is None
    assert other.take(*OF) == b"second"
    assert (one.take(*OF), one.read(*OF)) == (None, None)


def test_nothing_of_it_can_be_read_in_the_file_or_with_another_secret(desk: Desk) -> None:
    desk.store().write(*OF, b"the secret token")
    kept = b"".join(path.read_bytes() for path in (desk.file.path, desk.file.log) if path.exists())

    assert desk.store(b"x" * 32).read(*OF) is None
    assert b"the secret token" not in kept


@pytest.mark.parametrize("column", ["id", "owner", "server", "kind"])
def test_a_row_that_was_put_in_the_place_of_another_opens_nothing(desk: Desk, column: str) -> None:
    store = desk.store()
    store.write(*OF, b"of alice")
    moved = {"id": "x", "owner": "bob", "server": "other", "kind": "client"}[column]
    with desk.file.writing() as connection:
        connection.execute(f"UPDATE aibridge_mcp_logins SET {column} = ?", (moved,))
        (row,) = connection.execute("SELECT kind, owner, server FROM aibridge_mcp_logins").fetchall()

    assert store.read(*row) is None


def test_what_has_ended_is_not_there_and_goes_with_the_next_write(desk: Desk) -> None:
    store = desk.store()
    store.write("attempt", "state", "", b"x", desk.clock.now() + timedelta(seconds=600))
    store.write("attempt", "late", "", b"y", desk.clock.now() + timedelta(seconds=600))
    there = store.read("attempt", "state", "")
    desk.clock.advance(600)
    gone, taken = store.read("attempt", "state", ""), store.take("attempt", "late", "")
    store.write(*OF, b"z")
    with closing(sqlite3.connect(desk.file.path)) as connection:
        kinds = connection.execute("SELECT kind FROM aibridge_mcp_logins").fetchall()

    assert (there, gone, taken) == (b"x", None, None)
    assert kinds == [("login",)]


async def test_of_many_who_take_one_has_it(desk: Desk) -> None:
    stores = [desk.store() for _ in range(4)]
    stores[0].write("attempt", "state", "", b"x")
    taken = await asyncio.gather(*(asyncio.to_thread(store.take, "attempt", "state", "") for store in stores))

    assert sorted(taken, key=lambda each: each is None) == [b"x", None, None, None]


async def test_one_holder_at_a_time_in_all_processes(desk: Desk) -> None:
    one, other, order = desk.store(), desk.store(), list[str]()
    held, go = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with one.alone("alice", "wiki"):
            order.append("first in")
            held.set()
            await go.wait()
            order.append("first out")

    async def second() -> None:
        await held.wait()
        go.set()
        async with other.alone("alice", "wiki"):
            order.append("second in")

    await asyncio.gather(first(), second())

    assert order == ["first in", "first out", "second in"]


def test_a_file_that_cannot_be_written_is_said_without_its_content(desk: Desk) -> None:
    store = desk.store()
    with desk.file.writing() as connection:
        connection.execute("DROP TABLE aibridge_mcp_logins")

    with pytest.raises(RecordingFailed, match=r"^logins cannot be written: OperationalError$"):
        store.write(*OF, b"the secret token")
    with pytest.raises(RecordingFailed, match=r"^logins cannot be read: OperationalError$"):
        store.read(*OF)

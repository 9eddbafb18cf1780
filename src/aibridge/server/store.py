"""Everything durable of one server process, opened in the right order and closed so that nothing is left behind.

Only a server opens a store: opening ends what dead processes left open. Commands use `open_people` and `Reading`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from aibridge.database import lineage
from aibridge.database.boots import Boot
from aibridge.database.files import DatabaseFile, DatabaseUnusable
from aibridge.database.recovery import recover
from aibridge.database.upgrade import bring_up_to_date
from aibridge.database.writer import CAPACITY, Statistics, Writer
from aibridge.ports import Clock, Ids
from aibridge.recorders.rows import Limits
from aibridge.recorders.sqlite import Content, Fail, SqliteRecorder
from aibridge.records import AnyRecord
from aibridge.sealing import Cipher
from aibridge.server.key_use import KeyUse
from aibridge.server.people import People
from aibridge.stores.sqlite import SqliteConversationStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Store:
    """What `open_store` gives. After closing, `why_unhealthy` and `statistics` still tell how it went."""

    file: DatabaseFile
    recorder: SqliteRecorder
    conversations: SqliteConversationStore
    people: People
    boot_id: str
    recovered: int  # interceptions of dead processes that were ended at this start
    _writer: Writer
    _identity: tuple[int, int]

    @property
    def is_displaced(self) -> bool:
        """True when another file or none is where ours was: what is written now, nobody will find there."""
        try:
            return _identity_of(self.file) != self._identity
        except FileNotFoundError:
            return True
        except OSError:  # that says nothing about the file
            return False

    @property
    def healthy(self) -> bool:
        return self._writer.why_unhealthy is None

    @property
    def has_failed(self) -> bool:
        """True when no more records can be kept, ever; another process may fare better."""
        return self._writer.has_failed

    @property
    def why_unhealthy(self) -> str | None:
        """What keeps records from becoming durable now."""
        return self._writer.why_unhealthy

    def statistics(self) -> Statistics:
        return self._writer.statistics()


@asynccontextmanager
async def open_store(
    path: str | os.PathLike[str],
    *,
    hash_key: bytes,
    cipher: Cipher,
    clock: Clock,
    ids: Ids,
    fail: Fail = "closed",
    limits: Limits | None = None,
    content: Content | None = None,
    capacity: int = CAPACITY,
    left_out: Callable[[AnyRecord], None] | None = None,
) -> AsyncIterator[Store]:
    """The store at `path`, made or upgraded if need be, with what dead processes left open ended.

    `hash_key` is that of `People`; `cipher` keeps held turns unreadable; `fail`, `limits`, `content` and `left_out` are
    those of `SqliteRecorder`; `capacity` is how many bytes of records may wait for the disk.

    Raises:
        DatabaseUnusable: the file cannot serve.
    """
    file, boot, recovered, unresolved = await asyncio.to_thread(_prepared, path, clock, ids)
    identity = _identity_of(file)
    writer = Writer(file, clock, capacity=capacity, give_up_content=fail == "usage-only")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_leave, boot, clock)
        conversations = SqliteConversationStore(file, writer, clock, cipher)
        stack.callback(conversations.close)
        people = People(file, hash_key=hash_key, clock=clock, ids=ids, note_use=KeyUse(writer, clock))
        stack.callback(people.close)
        writer.start()
        stack.push_async_callback(_finish, writer)  # closed first: nothing may be lost by what comes after
        for interception_id in unresolved:
            writer.put_later(lineage.find_parents, interception_id)
        recorder = SqliteRecorder(writer, boot_id=boot.id, fail=fail, limits=limits, content=content, left_out=left_out)
        yield Store(file, recorder, conversations, people, boot.id, recovered, writer, identity)


def _identity_of(file: DatabaseFile) -> tuple[int, int]:
    found = file.path.stat()
    return found.st_dev, found.st_ino


async def _leave(boot: Boot, clock: Clock) -> None:
    await asyncio.to_thread(boot.leave, clock.now())


async def _finish(writer: Writer) -> None:
    if not await writer.close():
        _log.error("the disk did not take the last records in time", extra={"held": writer.statistics().held})


@contextmanager
def open_people(path: str | os.PathLike[str], *, hash_key: bytes | None, clock: Clock, ids: Ids) -> Iterator[People]:
    """Users and keys for a command, beside a running server or before the first one; the database is made if need be.

    `hash_key` is that of `People`.

    Raises:
        DatabaseUnusable: the file cannot serve.
    """
    file = DatabaseFile.at(path)
    bring_up_to_date(file)
    people = People(file, hash_key=hash_key, clock=clock, ids=ids)
    try:
        yield people
    finally:
        people.close()


def _prepared(path: str | os.PathLike[str], clock: Clock, ids: Ids) -> tuple[DatabaseFile, Boot, int, list[str]]:
    file = DatabaseFile.at(path)
    bring_up_to_date(file)
    try:
        boot = Boot.begin(file, ids(), clock.now())
        try:
            recovered = recover(file, clock.now())
            with file.writing() as connection:
                unresolved = lineage.unresolved(connection)
        except BaseException:
            boot.leave(clock.now())
            raise
    except sqlite3.Error as error:
        raise DatabaseUnusable(f"{file.path} cannot be written: {error}") from error
    except OSError as error:  # of the locks of boots: somebody else's, or there is no room for one
        raise DatabaseUnusable(f"{error.filename or file.path} cannot be written: {error.strerror}") from error
    if recovered:
        _log.warning("ended what processes that died had left open", extra={"interceptions": recovered})
    return file, boot, recovered, unresolved

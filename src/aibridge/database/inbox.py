"""What waits for the writer thread: filled from event loops, emptied by one thread, bounded in bytes.

The bound holds for whoever asks (`offer`); what must not be lost goes in all the same (`put`), and has its room
reserved beforehand.

Whoever waits for an entry wakes the reader. An entry that nobody waits for does not while room is reserved: somebody will
then wait for another one, and both share a commit. The reader looks by itself meanwhile, after a moment (see `Writer`).
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence

import msgspec

from aibridge.database.statements import Row, Statement

# Work on what was recorded, for quiet moments: called with the connection, in a transaction, and up to 64 keys.
LaterWork = Callable[[sqlite3.Connection, Sequence[str]], None]


class Entry(msgspec.Struct, eq=False):
    """One row on its way. `make` runs in the writer thread; `size` is the memory that it holds until then, in bytes."""

    statement: Statement
    make: Callable[[], Row]
    size: int
    waiter: asyncio.Future[None] | None = None
    row: Row | None = None
    given_up: Callable[[], None] | None = None  # called in the writer thread, before later entries are settled


class Closed(Exception):
    """Nothing is taken any more; the message says why."""


class Inbox:
    """A queue with one reader. Room is given back when an entry is settled, not when it is taken."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._much = capacity // 8  # bytes that are not let lie
        self._lock = threading.Lock()
        self._bell = threading.Lock()  # locked: rung by releasing it, and only for a sleeper
        self._bell.acquire()
        self._asleep = False
        self._entries: list[Entry] = []
        self._later: list[tuple[LaterWork, str]] = []
        self._held = 0  # bytes of entries that are not settled
        self._reserved = 0
        self._closed: str | None = None

    @property
    def held(self) -> int:
        return self._held

    @property
    def reserved(self) -> int:
        return self._reserved

    def offer(self, entry: Entry, *, reserve: int = 0) -> bool:
        """Takes `entry` if there is room for it and for `reserve` bytes more, which stay reserved until `release`.

        Raises:
            Closed: nothing is taken any more.
        """
        return self._take_in(entry, reserve, self._capacity)

    def put(self, entry: Entry) -> None:
        """Takes `entry`, room or not.

        Raises:
            Closed: nothing is taken any more.
        """
        self._take_in(entry, 0, None)

    def put_later(self, work: LaterWork, key: str) -> None:
        """Notes work for a quiet moment after everything that was taken before it. Forgotten once closed."""
        with self._lock:
            if self._closed is None:
                self._later.append((work, key))
                self._wake()

    def release(self, reserved: int) -> None:
        with self._lock:
            self._reserved -= reserved

    def settled(self, size: int) -> None:
        """Gives back the room of entries that are written or given up."""
        with self._lock:
            self._held -= size

    def take(self, timeout: float | None) -> tuple[list[Entry], list[tuple[LaterWork, str]]]:
        """Everything that waits; both lists are empty when nothing came within `timeout` seconds, or on closing."""
        with self._lock:
            self._asleep = not (self._entries or self._later or self._closed is not None or timeout == 0)
            slept = self._asleep
        rung = slept and self._bell.acquire(timeout=-1 if timeout is None else timeout)
        with self._lock:
            if slept and not rung and not self._asleep:
                self._bell.acquire()  # rung in the moment after the time ran out
            self._asleep = False
            entries, self._entries = self._entries, []
            later, self._later = self._later, []
        return entries, later

    def close(self, reason: str) -> None:
        """Takes nothing more. What is there can still be taken out."""
        with self._lock:
            if self._closed is None:
                self._closed = reason
            self._wake()

    def _take_in(self, entry: Entry, reserve: int, capacity: int | None) -> bool:
        with self._lock:
            if self._closed is not None:
                raise Closed(self._closed)
            if capacity is not None and self._held + self._reserved + entry.size + reserve > capacity:
                return False
            self._held += entry.size
            self._reserved += reserve
            self._entries.append(entry)
            if self._asleep and (entry.waiter is not None or not self._reserved or self._held > self._much):
                self._wake()
        return True

    def _wake(self) -> None:
        if self._asleep:
            self._asleep = False
            self._bell.release()

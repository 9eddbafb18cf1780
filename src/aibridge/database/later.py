"""Work on records that can wait for a quiet moment: the writer thread does it between batches, a little at a time.

It may be forgotten (when the process ends, or the database is busy): whoever asks for it looks again at the next start.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Iterable

from aibridge.database import batches
from aibridge.database.inbox import LaterWork
from aibridge.database.locks import FileLock

_AT_ONCE = 64  # keys in a transaction; bounds how long a record waits behind work that could have waited
_AT_MOST = 0.5  # seconds that work waits for a quiet moment
_KEPT = 100_000  # keys
_KEPT_AT_CLOSING = 1024  # keys; some ten milliseconds' work

_log = logging.getLogger(__name__)


class Later:
    """The work that waits, first come first served. Belongs to the writer thread."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[LaterWork, str]] = deque(maxlen=_KEPT)
        self._since = 0.0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, work: Iterable[tuple[LaterWork, str]], now: float) -> None:
        if not self._waiting:
            self._since = now
        self._waiting.extend(work)

    def cannot_wait(self, now: float) -> bool:
        """True when no quiet moment came for too long."""
        return bool(self._waiting) and now - self._since > _AT_MOST

    def shorten(self) -> None:
        """Forgets all but a little, so that closing is quick."""
        while len(self._waiting) > _KEPT_AT_CLOSING:
            self._waiting.pop()

    def do_some(self, connection: sqlite3.Connection, lock: FileLock) -> None:
        """Does a piece of the oldest work, in a transaction of its own.

        Raises:
            sqlite3.Error: the connection must not be used again.
        """
        work = self._waiting[0][0]
        keys: list[str] = []
        while self._waiting and self._waiting[0][0] is work and len(keys) < _AT_ONCE:
            keys.append(self._waiting.popleft()[1])
        try:
            with lock:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    work(connection, keys)
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if batches.verdict_on(error) == "fatal":
                raise
            _log.warning("left undone until the next start", extra={"reason": batches.said(error), "keys": len(keys)})

"""Logins at MCP servers in the SQLite file: sealed, so that who copies the file without the server's secret has no token.

Each row is sealed about its own id and place: a row that somebody puts in another's place does not open.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import datetime

from aibridge.database.files import DatabaseFile, DatabaseUnusable
from aibridge.database.locks import FileLock
from aibridge.database.moments import as_text
from aibridge.errors import RecordingFailed
from aibridge.ports import Clock, Ids
from aibridge.sealing import Cipher

_COLUMNS = "id, content, expires_at"
_OF = "kind = ? AND owner = ? AND server = ?"
_READ = f"SELECT {_COLUMNS} FROM aibridge_mcp_logins WHERE {_OF}"  # noqa: S608  constants only
_TAKE = f"DELETE FROM aibridge_mcp_logins WHERE {_OF} RETURNING {_COLUMNS}"  # noqa: S608  as above
_ENDED = "DELETE FROM aibridge_mcp_logins WHERE expires_at <= ?"
_WRITE = (
    "INSERT OR REPLACE INTO aibridge_mcp_logins (id, kind, owner, server, content, kept_at, expires_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_LOCKS = 64  # files, however many logins; two that share one wait for each other
_LOOK = 0.05  # seconds between two looks at a lock that another process holds
_PATIENCE = 30.0  # seconds; its holder asks with a deadline of its own, which is shorter
_log = logging.getLogger(__name__)


class SqliteLogins:
    """A `LoginStore` (see `aibridge.mcp.oauth.store`). `close` it."""

    def __init__(self, file: DatabaseFile, *, cipher: Cipher, clock: Clock, ids: Ids) -> None:
        self._file = file
        self._cipher = cipher
        self._clock = clock
        self._ids = ids
        self._reading = file.reading()
        self._one_at_a_time = threading.Lock()
        self._changes = file.change_mark("mcp-logins")

    def close(self) -> None:
        self._changes.close()
        self._file.close_reading(self._reading)

    def seen(self) -> bytes:
        return self._changes.seen()

    def read(self, kind: str, owner: str, server: str) -> bytes | None:
        with _said("read"), self._one_at_a_time:
            row = self._reading.execute(_READ, (kind, owner, server)).fetchone()
        return None if row is None else self._opened(row, kind, owner, server)

    def write(self, kind: str, owner: str, server: str, content: bytes, expires_at: datetime | None = None) -> None:
        row_id, now = self._ids(), as_text(self._clock.now())
        sealed = self._cipher.sealed(content, _about(row_id, kind, owner, server))
        end = None if expires_at is None else as_text(expires_at)
        with _said("written"):
            with self._file.writing() as connection:
                connection.execute(_ENDED, (now,))
                connection.execute(_WRITE, (row_id, kind, owner, server, sealed, now, end))
                self._changes.move()
            self._changes.move()

    def take(self, kind: str, owner: str, server: str) -> bytes | None:
        with _said("written"):
            with self._file.writing() as connection:
                row = connection.execute(_TAKE, (kind, owner, server)).fetchone()
                self._changes.move()
            self._changes.move()
        return None if row is None else self._opened(row, kind, owner, server)

    @asynccontextmanager
    async def alone(self, owner: str, server: str) -> AsyncIterator[None]:
        number = hashlib.sha256(f"{owner}\0{server}".encode("utf-8", "surrogatepass")).digest()[0] % _LOCKS
        try:
            held = FileLock(self._file.login_lock(number))
        except OSError as error:
            raise RecordingFailed(f"the lock of logins cannot be taken: {error.strerror}") from error
        with closing(held):
            end = self._clock.monotonic() + _PATIENCE
            while not held.taken_at_once():
                if self._clock.monotonic() > end:
                    raise RecordingFailed("somebody else is renewing the login, and does not end")
                await asyncio.sleep(_LOOK)
            yield

    def _opened(self, row: tuple[str, bytes, str | None], kind: str, owner: str, server: str) -> bytes | None:
        row_id, sealed, end = row
        if end is not None and end <= as_text(self._clock.now()):
            return None
        content = self._cipher.opened(sealed, _about(row_id, kind, owner, server))
        if content is None:
            _log.warning("a login cannot be opened: the server's secret is another one", extra={"server": server})
        return content


def _about(row_id: str, kind: str, owner: str, server: str) -> bytes:
    return f"mcp login\0{row_id}\0{kind}\0{owner}\0{server}".encode("utf-8", "surrogatepass")


@contextmanager
def _said(done: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, DatabaseUnusable, OSError) as error:
        raise RecordingFailed(f"logins cannot be {done}: {type(error).__name__}") from error

"""One database file: where it and its locks lie, and how it is opened. Every writer takes the file's one write lock.

The lock is held around BEGIN..COMMIT, checkpoints and closing (closing the last connection checkpoints too): without
it several writers wait for each other in SQLite's back-off, which costs ten times as long, and SQLite before 3.51.3
can lose a commit when two of them reset the write-ahead log at once.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aibridge.database.change_mark import ChangeMark
from aibridge.database.file_systems import network_file_system_of
from aibridge.database.locks import FileLock

# A writer that does not take our lock (a shell somebody left open) is waited for as long as a reader may take.
_BUSY_TIMEOUT_MS = 2000
_MAGIC = b"SQLite format 3\0"  # https://sqlite.org/fileformat2.html section 1.3.1
_LITTLE = 64 * 1024  # bytes; the index of the log takes 32 KiB


class DatabaseUnusable(Exception):
    """The file cannot serve as our database; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """A database in the making or made. `path` is absolute and without links: locks are found beside it."""

    path: Path

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> DatabaseFile:
        """The file at `path`, with the folders that it needs; the file itself is empty when it is new.

        Raises:
            DatabaseUnusable: it lies on a network file system, is another file, or cannot be made or written.
        """
        file = cls(Path(path).resolve())
        kind = network_file_system_of(file.path)
        if kind is not None:
            raise DatabaseUnusable(
                f"{file.path} lies on a network file system ({kind}), where SQLite can lose data: choose a local disk"
            )
        try:
            file.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made here and not by SQLite: prompts are private. The log and its index take the file's mode.
            with open(os.open(file.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb") as opened:
                beginning = opened.read(len(_MAGIC))
            if beginning not in (b"", _MAGIC):  # found before anything of ours is put beside it
                raise DatabaseUnusable(f"{file.path} is not a database of SQLite")
            file._locks.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise DatabaseUnusable(f"{file.path} cannot be written: {error.strerror}") from error
        return file

    @property
    def log(self) -> Path:
        """SQLite's write-ahead log."""
        return self.path.with_name(self.path.name + "-wal")

    def write_lock(self) -> FileLock:
        """The lock that every writer of this file takes.

        Raises:
            DatabaseUnusable: somebody else made it for themselves alone.
        """
        try:
            return FileLock(self._locks / "write")
        except OSError as error:
            raise DatabaseUnusable(f"{error.filename} cannot be written: {error.strerror}") from error

    def change_mark(self, name: str) -> ChangeMark:
        """The mark that moves when what is called `name` in this file changes."""
        try:
            return ChangeMark(self._locks / f"{name}.changes")
        except OSError as error:
            raise DatabaseUnusable(f"{self._locks} cannot be written: {error.strerror}") from error

    def boot_lock(self, boot_id: str) -> Path:
        """The file that the process with that boot id keeps locked while it lives."""
        return self._locks / f"boot-{boot_id}"

    def login_lock(self, number: int) -> Path:
        """The file that whoever renews a login keeps locked meanwhile; several logins may share a number."""
        return self._locks / f"login-{number}"

    def connection(self, *, any_thread: bool = False) -> sqlite3.Connection:
        """A connection that commits only what is on disk; transactions are begun and ended by its user.

        Raises:
            DatabaseUnusable: SQLite cannot open the file.
        """
        try:
            connection = sqlite3.connect(
                self.path,
                isolation_level=None,
                timeout=_BUSY_TIMEOUT_MS / 1000,
                cached_statements=256,
                check_same_thread=not any_thread,
            )
            try:
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise DatabaseUnusable(f"{self.path} cannot be opened: {error}{self._room()}") from error
        return connection

    def reading(self) -> sqlite3.Connection:
        """A connection that cannot write, usable from any thread, one at a time. Close it with `close_reading`."""
        connection = self.connection(any_thread=True)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def close_reading(self, connection: sqlite3.Connection) -> None:
        """Closes a connection of `reading`: the last one to close checkpoints, so it takes the write lock."""
        with closing(self.write_lock()) as lock, lock:
            connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One short transaction on a connection of its own: committed at the end of the block, undone if it raises."""
        with closing(self.write_lock()) as lock, lock, closing(self.connection()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def _room(self) -> str:
        """SQLite calls it an I/O error where its log or index finds no room; we say so."""
        try:
            free = shutil.disk_usage(self.path.parent).free
        except OSError:
            return ""
        return " (the disk is full)" if free < _LITTLE else ""

    @property
    def _locks(self) -> Path:
        return self.path.with_name(self.path.name + ".locks")


def _prepare(connection: sqlite3.Connection) -> None:
    [mode] = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise DatabaseUnusable(f"the database cannot keep a write-ahead log (journal_mode is {mode})")
    connection.execute("PRAGMA synchronous = FULL")
    if sys.platform == "darwin":
        # fsync there leaves data in the drive's cache (fsync(2) of macOS).
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
    # Checkpoints are the writer thread's, when it is idle or the log is long.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA trusted_schema = OFF")

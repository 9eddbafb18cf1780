"""Moves the write-ahead log into the database: in quiet moments, or when the log has grown long. Under the write lock.

The log file is never cut while it is in use, and is grown with zeros ahead of its use: overwriting blocks that a file
already has costs a sync half as much processor and time as growing it, and every commit is a sync. SQLite reads no
further than the frames that carry the salts of the log's header (https://www.sqlite.org/fileformat2.html#walformat).
"""

from __future__ import annotations

import logging
import os
import sqlite3
from pathlib import Path

from aibridge.database import batches
from aibridge.database.locks import FileLock

LONG_LOG = 16 * 1024 * 1024
# Bytes of a new log; doubled whenever half of it is in use, up to what serves where few commit: where many do, a commit
# is shared, and what it would save is less than zeros cost.
_FIRST_ROOM, _MOST_ROOM = 256 * 1024, 4 * 1024 * 1024
_SPARE = 16  # times the room must be free on the disk, or the log grows by what is written only
_HEADER = 32  # bytes of the log's header, and of a frame's: https://www.sqlite.org/fileformat2.html#walformat
_FRAME_HEADER = 24
_SALTS = slice(16, 24)  # in the log's header; a frame repeats them at 8
_LOOK_EVERY = 8  # commits; looking costs a few microseconds

_log = logging.getLogger(__name__)


class Checkpoints:
    """Watches one log. Nothing here waits for readers: what they hold up is done at the next occasion."""

    def __init__(self, connection: sqlite3.Connection, lock: FileLock, log: Path) -> None:
        self._connection = connection
        self._lock = lock
        self._log = Log(log, *connection.execute("PRAGMA page_size").fetchone())
        self._due_at = LONG_LOG
        self._looks = -1
        self._may_grow = True
        self.count = 0

    def tend(self) -> None:
        """To be called after each commit: checkpoints a long log, makes room in a short one.

        Other processes write to it too, so the file is looked at, seldom. Raises: as `run` does.
        """
        self._looks += 1
        if self._looks % _LOOK_EVERY:
            return
        length = self._log.length()
        if length < LONG_LOG:
            self._due_at = LONG_LOG
            self._make_room(length)
        if length >= self._due_at:
            self.run()

    def _make_room(self, length: int) -> None:
        """Grows a log of which `length` bytes are in use, if it needs that and the disk has plenty."""
        size = self._log.size()
        if not self._may_grow or 2 * length < size or size >= _MOST_ROOM:
            return
        try:
            with self._lock:
                self._connection.execute("BEGIN IMMEDIATE")  # nobody else appends to the log
                try:
                    self._may_grow = self._log.grow(min(max(2 * size, _FIRST_ROOM), _MOST_ROOM))
                finally:
                    self._connection.execute("ROLLBACK")
        except OSError as error:
            # It is only slower without. A disk that is broken shows at the next commit.
            self._may_grow = False
            _log.debug("the log is not grown ahead", extra={"reason": error.strerror})
        except sqlite3.OperationalError as error:
            if batches.verdict_on(error) != "passing":
                raise

    def run(self, *, afresh: bool = False) -> None:
        """Copies what can be copied. When that was all and nobody reads the log, the next commit starts it anew.

        `afresh`: that commit is made here, with nothing in it. It syncs twice, for the log's header and for itself, so
        that whoever comes first after a pause waits for one sync only: measured on ext4, 1.2 ms instead of 2.0.

        Raises:
            sqlite3.Error: other than for being busy, or for want of room on the disk: the log has everything meanwhile.
        """
        with self._lock:
            try:
                [(_, frames, copied)] = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                if afresh and frames == copied:
                    [version] = self._connection.execute("PRAGMA user_version").fetchone()
                    self._connection.execute(f"PRAGMA user_version = {version}")  # written, though it is the same
            except sqlite3.OperationalError as error:
                if batches.verdict_on(error) != "passing":
                    raise
        self.count += 1
        # What an old reader still needs stays in the log; asking again for every commit would not hurry it.
        self._due_at = max(LONG_LOG, self._log.length() + LONG_LOG // 8)

    def close(self) -> None:
        self._log.close()


class Log:
    """How long a log is. Its file keeps the size that it once had; in use are the frames that carry the present salts."""

    def __init__(self, path: Path, page_size: int) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._frame = _FRAME_HEADER + page_size
        self._salts = b""
        self._frames = 0

    def length(self) -> int:
        """Bytes of the frames in use, as far as they were written when we looked."""
        header = os.pread(self._descriptor, _HEADER, 0)
        if not any(header):  # nothing was written yet
            return 0
        salts = header[_SALTS]
        if salts != self._salts:
            self._salts, self._frames = salts, 0
        step = 64
        while self._in_use(self._frames + step):
            self._frames += step
            step *= 2
        while step := step // 2:
            if self._in_use(self._frames + step):
                self._frames += step
        return self._frames * self._frame

    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._descriptor).st_size

    def grow(self, size: int) -> bool:
        """Fills the file with zeros up to `size`, durably; False: the disk has no room to spare. Nobody may append.

        Raises: OSError.
        """
        disk = os.fstatvfs(self._descriptor)
        if disk.f_bavail * disk.f_frsize < _SPARE * size:
            return False
        end = self.size()
        while end < size:
            end += os.pwrite(self._descriptor, bytes(size - end), end)
        os.fsync(self._descriptor)
        return True

    def close(self) -> None:
        os.close(self._descriptor)

    def _in_use(self, frame: int) -> bool:
        """Whether the log reaches up to `frame`, counted from 1."""
        header = os.pread(self._descriptor, _FRAME_HEADER, _HEADER + (frame - 1) * self._frame)
        return len(header) == _FRAME_HEADER and header[8:16] == self._salts

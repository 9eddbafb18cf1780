"""Moves the write-ahead log into the database: in quiet moments, or when the log has grown long. Under the write lock.

The log file is never cut while it is in use. Overwriting blocks that a file already has costs a sync half as much
processor and time as growing it, and every commit is a sync.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from aibridge.database import batches
from aibridge.database.locks import FileLock

LONG_LOG = 16 * 1024 * 1024
_HEADER = 32  # bytes of the log's header, and of a frame's: https://www.sqlite.org/fileformat2.html#walformat
_FRAME_HEADER = 24
_SALTS = slice(16, 24)  # in the log's header; a frame repeats them at 8
_LOOK_EVERY = 8  # commits; looking costs a few microseconds


class Checkpoints:
    """Watches one log. Nothing here waits for readers: what they hold up is done at the next occasion."""

    def __init__(self, connection: sqlite3.Connection, lock: FileLock, log: Path) -> None:
        self._connection = connection
        self._lock = lock
        self._log = Log(log, *connection.execute("PRAGMA page_size").fetchone())
        self._due_at = LONG_LOG
        self._looks = 0
        self.count = 0

    def is_due(self) -> bool:
        """True when the log is long, seldom asked. Other processes write to it too, so the file is looked at."""
        self._looks += 1
        if self._looks % _LOOK_EVERY:
            return False
        length = self._log.length()
        if length < LONG_LOG:
            self._due_at = LONG_LOG
        return length >= self._due_at

    def run(self) -> None:
        """Copies what can be copied. When that was all and nobody reads the log, the next commit starts it anew.

        Raises:
            sqlite3.Error: other than for being busy, or for want of room on the disk: the log has everything meanwhile.
        """
        with self._lock:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
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
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._frame = _FRAME_HEADER + page_size
        self._salts = b""
        self._frames = 0

    def length(self) -> int:
        """Bytes of the frames in use, as far as they were written when we looked."""
        salts = os.pread(self._descriptor, _HEADER, 0)[_SALTS]
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

    def close(self) -> None:
        os.close(self._descriptor)

    def _in_use(self, frame: int) -> bool:
        """Whether the log reaches up to `frame`, counted from 1."""
        header = os.pread(self._descriptor, _FRAME_HEADER, _HEADER + (frame - 1) * self._frame)
        return len(header) == _FRAME_HEADER and header[8:16] == self._salts

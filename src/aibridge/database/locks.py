"""Locks between processes, held by the operating system: they fall when their holder dies, however it dies.

They are advisory: whoever writes takes them. A lock belongs to one open file, so that two threads of one process that
opened the same lock file exclude each other too. A descriptor survives `os.fork`: fork before locks are taken.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType


class FileLock:
    """An exclusive lock on one file. `with lock:` waits for it; one thread uses one object."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def taken_at_once(self) -> bool:
        """Takes the lock if nobody else holds it; it is then held until `close`."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        os.close(self._descriptor)

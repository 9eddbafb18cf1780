"""A mark that several processes see at once: it differs after each change, and looking at it costs no system call.

Eight random bytes in a small file that every process maps. A counter would do for one writer; two that count at the
same moment could bring back a number that somebody remembers.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

_SIZE = 8


class ChangeMark:
    """`seen` before a look, `moved` around a change: an equal mark means that what was looked at is unchanged."""

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            status = os.fstat(descriptor)
            if status.st_size < _SIZE or status.st_blocks == 0:
                # Written, not only made long: the first look at a hole would need room on the disk, and where there
                # is none it ends the process (SIGBUS).
                os.pwrite(descriptor, os.urandom(_SIZE), 0)
            self._bytes = mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)

    def seen(self) -> bytes:
        return self._bytes[:_SIZE]

    def move(self) -> None:
        """Something changes: to be called before the change can be seen, and again after it can."""
        self._bytes[:_SIZE] = os.urandom(_SIZE)

    def close(self) -> None:
        self._bytes.close()

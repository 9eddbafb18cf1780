"""Which processes live. Each start of one is a boot: a row, and a lock that is held until the process ends, however.

The lock is taken before the row is written and before anything is recorded under the boot's id, so a boot whose lock
can be taken is dead, and a dead boot never comes back.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime

from aibridge.database.files import DatabaseFile, DatabaseUnusable
from aibridge.database.locks import FileLock
from aibridge.database.moments import as_text

_LEAVE = """
UPDATE aibridge_boots SET ended_at = ?
WHERE id = ? AND NOT EXISTS (
    SELECT 1 FROM aibridge_interceptions AS i WHERE i.boot_id = aibridge_boots.id AND i.ended_at IS NULL
)
"""

_log = logging.getLogger(__name__)


class Boot:
    """A process's own boot, from `begin` to `leave`."""

    def __init__(self, file: DatabaseFile, boot_id: str, lock: FileLock) -> None:
        self.id = boot_id
        self._file = file
        self._lock = lock

    @classmethod
    def begin(cls, file: DatabaseFile, boot_id: str, now: datetime) -> Boot:
        """Takes the lock and writes the row.

        Raises:
            sqlite3.Error, OSError: the process is not known, and must not record.
        """
        lock = FileLock(file.boot_lock(boot_id))
        if not lock.taken_at_once():
            lock.close()
            raise RuntimeError(f"another process lives under the boot id {boot_id}")
        try:
            with file.writing() as connection:
                connection.execute(
                    "INSERT INTO aibridge_boots (id, pid, started_at) VALUES (?, ?, ?)",
                    (boot_id, os.getpid(), as_text(now)),
                )
        except BaseException:
            file.boot_lock(boot_id).unlink()
            lock.close()
            raise
        return cls(file, boot_id, lock)

    def leave(self, now: datetime) -> None:
        """Lets go of the lock; the row is closed, unless something of this boot is open: that the next start ends."""
        try:
            with self._file.writing() as connection:
                ended = connection.execute(_LEAVE, (as_text(now), self.id)).rowcount
        except (sqlite3.Error, DatabaseUnusable) as error:
            _log.warning("the boot's row stays open", extra={"reason": str(error)})
        else:
            if ended:
                self._file.boot_lock(self.id).unlink(missing_ok=True)
        finally:
            self._lock.close()


@contextmanager
def the_dead(file: DatabaseFile, boot_ids: list[str]) -> Iterator[list[str]]:
    """Those of `boot_ids` whose process is gone. They are nobody else's to bury until the block ends well."""
    with ExitStack() as stack:
        dead: list[str] = []
        for boot_id in boot_ids:
            lock = stack.enter_context(closing(FileLock(file.boot_lock(boot_id))))
            if lock.taken_at_once():
                dead.append(boot_id)
        yield dead
        for boot_id in dead:
            file.boot_lock(boot_id).unlink(missing_ok=True)

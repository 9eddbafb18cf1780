"""The door to what keeps logins: short reads and writes, of contents that only whoever has the server's secret can read."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol


class LoginStore(Protocol):
    """One content for each kind, owner and server.

    `write` and `take` are called in threads, `read` in threads and on the event loop. All raise RecordingFailed.
    """

    def seen(self) -> bytes:
        """A mark that differs after each change of any process; it costs nothing to look at."""

    def read(self, kind: str, owner: str, server: str) -> bytes | None:
        """What is kept and has not ended."""

    def write(self, kind: str, owner: str, server: str, content: bytes, expires_at: datetime | None = None) -> None:
        """Keeps `content` in place of what was kept, until it is taken or ends."""

    def take(self, kind: str, owner: str, server: str) -> bytes | None:
        """What is kept and has not ended; nobody else gets it after, or at the same moment."""

    def alone(self, owner: str, server: str) -> AbstractAsyncContextManager[None]:
        """For one holder at a time in all processes; the others wait, for a while."""

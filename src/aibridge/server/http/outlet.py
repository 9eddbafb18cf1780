"""What was written and the client has not taken: who waits for it, and when a client that takes nothing is dropped.

A client that reads slowly is never dropped here; only one whose backlog did not shrink for the whole time.
"""

import asyncio
from math import inf

from aibridge.server.http.sockets import unsent_bytes


class Outlet:
    """The writing side of one connection."""

    __slots__ = ("_seconds", "_since", "_transport", "_unsent", "_writable", "due", "paused")

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        """`seconds` is how long the client may take nothing."""
        self._transport = transport
        self._seconds = seconds
        self._writable: asyncio.Event | None = None
        self._unsent = 0
        self._since = 0.0
        self.paused = False
        self.due = inf  # when to look next

    def pause(self, now: float) -> None:
        self.paused = True
        self.watch(now)

    def resume(self, *, closing: bool) -> None:
        self.paused = False
        if not closing:  # closing waits for the last byte, so the watch goes on
            self.due = inf
        self.release()

    async def writable(self) -> None:
        """Returns when enough was taken, or when nobody will take any more."""
        if self._writable is None:
            self._writable = asyncio.Event()
        await self._writable.wait()

    def release(self) -> None:
        """Wake who waits."""
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    def watch(self, now: float) -> None:
        """From now on something must be taken, if there is anything to take."""
        if self._transport.get_write_buffer_size():
            self._unsent = unsent_bytes(self._transport)
            self._since = now
            self.due = now + self._seconds / 4

    def expired(self, now: float) -> bool:
        """True when nothing was taken for the whole time; else sets the next `due`. Looks in quarters of the time."""
        unsent = unsent_bytes(self._transport)
        if unsent < self._unsent:
            self._unsent = unsent
            self._since = now
        elif now - self._since >= self._seconds:
            self.due = inf
            return True
        self.due = now + self._seconds / 4
        return False

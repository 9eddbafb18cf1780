"""What one server has open right now: its connections and the exchanges that run on them.

Counted in one place, so that the cap, the drain and the last wait all speak of the same sets.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol


class Member(Protocol):
    """A connection, as its server sees it."""

    def shutdown(self) -> None:
        """Take no further request; close as soon as nothing is being answered."""

    def abort(self) -> None:
        """Close at once, whatever is unsent."""


class Population:
    """The members of one server."""

    def __init__(self, *, watermark: int, scarce: Callable[[], None]) -> None:
        """`scarce` is called when a connection came in on a descriptor of `watermark` or above."""
        self.connections: set[Member] = set()
        self.exchanges: set[asyncio.Task[None]] = set()
        self.draining = False
        self._watermark = watermark
        self._scarce = scarce
        self._emptied: asyncio.Event | None = None

    def enter(self, member: Member, descriptor: int) -> int:
        """Count a connection in; returns how many there are now."""
        self.connections.add(member)
        # The kernel gives the lowest free number, so a high one says that the table is nearly full.
        if descriptor >= self._watermark:
            self._scarce()
        return len(self.connections)

    def leave(self, member: Member) -> None:
        self.connections.discard(member)
        if self._emptied is not None and not self.connections:
            self._emptied.set()

    def drain(self) -> None:
        """From now on every connection ends with the request that it has, new ones with their first."""
        self.draining = True
        for member in list(self.connections):
            member.shutdown()

    def abort(self) -> None:
        for member in list(self.connections):
            member.abort()

    async def emptied(self) -> None:
        """Returns when no connection is left."""
        if self.connections:
            self._emptied = asyncio.Event()
            await self._emptied.wait()

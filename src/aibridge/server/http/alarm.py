"""One timer that is set again only when it rings, so that moving a deadline costs a comparison.

It never rings late; it may ring early, and the owner then sets it again.
"""

import asyncio
from collections.abc import Callable
from math import inf


class Alarm:
    """At most one pending timer of the loop."""

    __slots__ = ("_at", "_handle", "_loop", "_ring")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._at = inf
        self._handle: asyncio.TimerHandle | None = None

    def by(self, due: float) -> None:
        """Ring at `due` (the loop's time) at the latest."""
        if due < self._at:
            if self._handle is not None:
                self._handle.cancel()
            self._at = due
            self._handle = self._loop.call_at(due, self._fire)

    def stop(self) -> None:
        """For good; the owner is let go of."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._at = -inf
        self._ring = _nobody_listens

    def _fire(self) -> None:
        self._handle = None
        self._at = inf
        self._ring()


def _nobody_listens() -> None:
    """What a stopped alarm would call."""

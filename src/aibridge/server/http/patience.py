"""What the client owes us, and until when. Time is an argument; the connection owns the timer.

A deadline starts when its phase is entered and is not moved by bytes that leave the phase unchanged.
"""

from math import inf
from typing import Literal, TypeAlias

from aibridge.server.http.limits import Deadlines

Phase: TypeAlias = Literal[
    "idle",  # a request
    "head",  # the rest of a head
    "body",  # the rest of a body
    "nothing",  # a request is being answered, or reading is paused: it is our turn
    "leaving",  # its end: the last answer is out, what still comes is thrown away
]


class Patience:
    """The reading side's deadline of one connection."""

    __slots__ = ("_deadlines", "_end", "due", "phase")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._end = inf
        self.phase: Phase = "idle"
        self.due = inf

    def enter(self, phase: Phase, now: float) -> None:
        self.phase = phase
        if phase == "idle":
            self.due = now + self._deadlines.idle
        elif phase == "head":
            self.due = now + self._deadlines.head
        elif phase == "body":
            self.due = now + self._deadlines.body
        else:
            self.due = inf

    def first(self, now: float, *, over_cap: bool) -> None:
        """A connection was made; its first byte is owed."""
        self.due = now + (self._deadlines.linger if over_cap else self._deadlines.head)

    def linger(self, now: float) -> None:
        """The connection ends as soon as the client is silent, or has ended it itself."""
        self.phase = "leaving"
        self._end = now + self._deadlines.linger_total
        self.due = now + self._deadlines.linger

    def still_talking(self, now: float) -> None:
        if self.phase == "leaving":
            self.due = min(now + self._deadlines.linger, self._end)

    def enough_body(self, received: int, now: float) -> bool:
        """True when the window that ends now brought enough of the body; then the next window starts."""
        if received < self._deadlines.body * self._deadlines.body_rate:
            return False
        self.due = now + self._deadlines.body
        return True

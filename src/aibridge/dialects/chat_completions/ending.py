"""What may be the end of a chat stream, kept back until it is known whether it is.

A stream ends with `[DONE]`, or where the body ends after every choice has a finish reason. So a chunk with the last
finish reason, and all that follows it, waits until the end shows which it was, or until the model goes on.
By then usage has come too, for clients that hang up as soon as they see a finish reason.
"""

from __future__ import annotations

MAX_HELD = 256 * 1024
"""How much may follow the last finish reason and be kept back, in bytes. More is no end, and goes out."""


class PossibleEnd:
    """Holds what goes out no earlier than what follows it."""

    __slots__ = ("_size", "held")

    def __init__(self) -> None:
        self.held: list[bytes] = []  # the same list for good: readers look at it for every event
        self._size = 0

    def placed(self, shown: bytes, *, goes_on: bool, over: bool) -> bytes:
        """What goes out now: all, or what was kept back before, or nothing, when this may be the end."""
        not_the_end = goes_on or not over or self._size > MAX_HELD
        released = self.released() if self.held and not_the_end else b""
        if not over:
            return released + shown
        self.held.append(shown)
        self._size += len(shown)
        return released

    def released(self) -> bytes:
        """What was kept back, which is forgotten."""
        released = b"".join(self.held)
        self.held.clear()
        self._size = 0
        return released

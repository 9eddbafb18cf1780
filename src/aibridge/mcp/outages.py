"""When a server that could not be reached is tried again: later and later, with jitter. Time and chance are arguments."""

from __future__ import annotations

from collections.abc import Callable

_FIRST = 1.0  # seconds
_LONGEST = 60.0  # seconds; a server that is back is noticed within two minutes


class Outage:
    """The failures of one server since it last worked. `chance` gives numbers from 0 to 1."""

    __slots__ = ("_chance", "_failures", "_monotonic", "_trying", "_until")

    def __init__(self, monotonic: Callable[[], float], chance: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._chance = chance
        self._failures = 0
        self._trying = False
        self._until = 0.0

    def try_again(self) -> None:
        """An attempt begins. While the last one failed, there is one at a time: the others wait for its outcome."""
        if self._failures:
            self._trying = True
            self._until = self._monotonic() + _LONGEST

    def failed(self) -> None:
        if self.lasts and not self._trying:
            return  # attempts of several people began together, and the first one's failure counts
        pause = min(_LONGEST, _FIRST * 2.0 ** min(self._failures, 16))
        self._failures += 1
        self._trying = False
        # Between half of it and all of it: whoever failed together does not come back together.
        self._until = self._monotonic() + pause * (0.5 + self._chance() / 2)

    def worked(self) -> None:
        self._failures = 0
        self._trying = False

    @property
    def lasts(self) -> bool:
        """Whether it is too early to try again."""
        return self._failures > 0 and self._monotonic() < self._until

    @property
    def failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

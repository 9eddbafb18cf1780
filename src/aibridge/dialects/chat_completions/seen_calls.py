"""Whose the calls of a turn are, as its stream tells of them, and under which index the client sees its own.

The client's calls move up over those of ours that have a lower index. Where a call begins is where that is settled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aibridge.dialects.chat_completions.calls import Calls


class SeenCalls:
    """The calls of which the client has been told, and those of which it has not."""

    __slots__ = ("_calls", "_shifts", "clients", "ours")

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._shifts: dict[int, int] = {}
        self.ours = False  # there are calls of ours
        self.clients = False

    def decided(self, pieces: Mapping[int, Sequence[int]]) -> bool:
        """It is known whose the calls are that these pieces are part of."""
        return all(self._calls.is_ours(number) is not None for numbers in pieces.values() for number in numbers)

    def saw(self, pieces: Mapping[int, Sequence[int]]) -> None:
        for numbers in pieces.values():
            for number in numbers:
                if self.is_ours(number):
                    self.ours = True
                elif number not in self._shifts:
                    self.clients = True
                    self._shifts[number] = self._calls.ours_before(number)

    def is_ours(self, number: int) -> bool:
        return bool(self._calls.is_ours(number))

    def shift(self, number: int) -> int:
        """By how much the client's index is lower than the provider's."""
        return self._shifts.get(number, 0)

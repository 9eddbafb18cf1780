"""A reply over several turns: each is a machine of its own, the client sees one.

What the turns have in common (numbers, usage, what was hidden) is the dialect's, and so is what each of them shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aibridge.dialects.base import Plain, Reply, Turn
from aibridge.dialects.turns import Hidden
from aibridge.errors import Problem
from aibridge.tools import ToolResult


class Turns(Protocol):
    """The dialect's side of a reply over several turns."""

    @property
    def response_id(self) -> str | None:
        """The first turn's id at the provider, once known."""

    def begin(self) -> Reply:
        """The machine of the next turn."""

    def answer(self, turn: Turn, results: Sequence[ToolResult]) -> None: ...

    def hidden(self) -> Hidden | None: ...


class LoopedReply:
    """See `aibridge.dialects.turns.LoopingReply`."""

    __slots__ = ("_turns", "facts", "receive", "turn")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.next_turn()

    @property
    def finished(self) -> bool:
        return self.turn.finished

    @property
    def response_id(self) -> str | None:
        return self._turns.response_id or self.turn.response_id

    @property
    def plain(self) -> Plain | None:
        return self.turn.plain

    def end_turn(self) -> Turn:
        return self.turn.end_turn()

    def answer(self, turn: Turn, results: Sequence[ToolResult]) -> None:
        self._turns.answer(turn, results)

    def next_turn(self) -> None:
        self.turn = turn = self._turns.begin()
        # Straight to the turn: these are called for every chunk.
        self.receive, self.facts = turn.receive, turn.facts

    def hidden(self) -> Hidden | None:
        return self._turns.hidden()

    def finish(self) -> bytes:
        return self.turn.finish()

    def fail(self, problem: Problem) -> bytes:
        return self.turn.fail(problem)

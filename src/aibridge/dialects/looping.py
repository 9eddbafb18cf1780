"""A reply over several turns: each is a machine of its own, the client sees one.

What the turns have in common (numbers, usage, what was hidden) is the dialect's, and so is what each of them shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from aibridge.dialects.base import Fact, Reply, Turn
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

    __slots__ = ("_turn", "_turns", "receive")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._turn = turns.begin()
        self.receive = self._turn.receive  # straight to the turn: this is called for every chunk

    @property
    def finished(self) -> bool:
        return self._turn.finished

    @property
    def response_id(self) -> str | None:
        return self._turns.response_id or self._turn.response_id

    def facts(self) -> tuple[Fact, ...]:
        return self._turn.facts()

    def end_turn(self) -> Turn:
        return self._turn.end_turn()

    def answer(self, turn: Turn, results: Sequence[ToolResult]) -> None:
        self._turns.answer(turn, results)

    def next_turn(self) -> None:
        self._turn = self._turns.begin()
        self.receive = self._turn.receive

    def hidden(self) -> Hidden | None:
        return self._turns.hidden()

    def finish(self) -> bytes:
        return self._turn.finish()

    def fail(self, problem: Problem) -> bytes:
        return self._turn.fail(problem)

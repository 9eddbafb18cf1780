"""A chat stream over several turns: every turn is relayed as it comes, as one stream with one beginning and one end.

Until a call of ours comes, the client gets the provider's bytes. Calls of ours are cut out, and the chunks of later
turns get the first turn's id and no second role. What the client gets of an intermediate end is nothing: it is kept
back, as every possible end is, and dropped when the next turn begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aibridge.dialects.base import Fact, Turn
from aibridge.dialects.chat_completions.errors import error_event
from aibridge.dialects.chat_completions.looping_reader import LoopingReader
from aibridge.dialects.chat_completions.so_far import ReplySoFar
from aibridge.dialects.reply import StreamedReply
from aibridge.dialects.turns import Hidden
from aibridge.errors import Problem
from aibridge.tools import ToolResult


class LoopingStream:
    """See `aibridge.dialects.turns.LoopingReply`."""

    __slots__ = ("_make_reader", "_reply", "_response_id", "_so_far")

    def __init__(self, so_far: ReplySoFar, *, hides_usage: bool, stored: bool) -> None:
        self._so_far = so_far
        self._make_reader: Callable[[], LoopingReader] = lambda: LoopingReader(
            so_far, hides_usage=hides_usage, stored=stored
        )
        self._reply = StreamedReply(self._make_reader(), error_event)
        self._response_id: str | None = None  # the first turn's, from the second on

    @property
    def finished(self) -> bool:
        return self._reply.finished

    @property
    def response_id(self) -> str | None:
        return self._response_id or self._reply.response_id

    def receive(self, chunk: bytes) -> bytes:
        return self._reply.receive(chunk)

    def facts(self) -> tuple[Fact, ...]:
        return self._reply.facts()

    def end_turn(self) -> Turn:
        return self._reply.end_turn()

    def answer(self, turn: Turn, results: Sequence[ToolResult]) -> None:
        self._so_far.answer(turn, results)

    def next_turn(self) -> None:
        self._response_id = self.response_id
        self._so_far.goes_on()
        self._reply = StreamedReply(self._make_reader(), error_event)

    def hidden(self) -> Hidden | None:
        return self._so_far.hidden()

    def finish(self) -> bytes:
        return self._reply.finish()

    def fail(self, problem: Problem) -> bytes:
        return self._reply.fail(problem)

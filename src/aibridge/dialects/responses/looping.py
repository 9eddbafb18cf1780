"""Replies that go on after a turn with calls of ours: the client sees one response, whatever number of turns it took.

Nothing passes unread here: what is too large to be read ends the reply, as it may hold a call of ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from aibridge.dialects.base import Fact, Plain, Reply, Turn, Unreadable
from aibridge.dialects.calls import may_name_ours
from aibridge.dialects.reply import MAX_WHOLE_BODY, StreamedReply
from aibridge.dialects.responses.blocking import ResponseObject, read_body, response_object
from aibridge.dialects.responses.held import HeldTurns
from aibridge.dialects.responses.items import Item
from aibridge.dialects.responses.shown import Shown
from aibridge.dialects.responses.stream import ResponsesReader
from aibridge.dialects.responses.turn_items import is_our_use, items_in, turn_of
from aibridge.dialects.responses.turn_view import TurnView
from aibridge.dialects.turns import Hidden
from aibridge.errors import Problem
from aibridge.tools import ToolResult

_STOPPED_SHORT = ("incomplete", "failed", "cancelled", "queued", "in_progress")


class LoopingStream:
    """See `aibridge.dialects.turns.LoopingReply`."""

    __slots__ = ("_first_id", "_held", "_reader", "_stored", "_turn", "_view", "facts", "receive", "turn")

    def __init__(self, shown: Shown, held: HeldTurns, *, stored: bool) -> None:
        self._held = held
        self._stored = stored
        self._first_id: str | None = None
        self._turn: Turn | None = None
        self._view = TurnView(shown)
        self._begin(ResponsesReader(stored=stored, view=self._view))

    @property
    def finished(self) -> bool:
        return self.turn.finished

    @property
    def response_id(self) -> str | None:
        return self._first_id or self._reader.response_id

    def _begin(self, reader: ResponsesReader) -> None:
        self._reader = reader
        self.turn = StreamedReply(reader, reader.error_event, passes_unread=False)
        # For every event of a stream: no call more than where nothing was offered.
        self.receive = self.turn.receive
        self.facts = self.turn.facts

    @property
    def plain(self) -> Plain | None:
        return self.turn.plain

    def end_turn(self) -> Turn:
        self._turn = self.turn.end_turn()
        return self._turn

    def finish(self) -> bytes:
        return self.turn.finish()

    def fail(self, problem: Problem) -> bytes:
        return self.turn.fail(problem)

    def answer(self, turn: Turn, results: Sequence[ToolResult]) -> None:
        self._held.answer(turn, self._view.items, results)

    def next_turn(self) -> None:
        self._first_id = self.response_id
        self._turn = None
        last = self._reader.last
        self._view = self._view.next(self._first_id, last)
        self._begin(ResponsesReader(stored=self._stored, view=self._view, last=last))

    def hidden(self) -> Hidden | None:
        return self._held.hidden(self.response_id, self._turn, self._view.items)


class LoopingWhole:
    """The same for answers that come in one body each."""

    __slots__ = ("_body", "_facts", "_held", "_items", "_largest", "_shown", "_stored", "_too_large", "_turn")

    def __init__(self, shown: Shown, held: HeldTurns, *, stored: bool, largest: int = MAX_WHOLE_BODY) -> None:
        self._shown = shown
        self._held = held
        self._stored = stored
        self._largest = largest
        self._body = bytearray()
        self._too_large = False
        self._facts: tuple[Fact, ...] = ()
        self._items: list[tuple[bytes, Item]] = []
        self._turn: Turn | None = None

    @property
    def turn(self) -> Reply:
        return self

    @property
    def finished(self) -> bool:
        return self._too_large  # else only the end of the body ends it

    @property
    def response_id(self) -> str | None:
        return self._shown.response_id or (self._turn.response_id if self._turn is not None else None)

    @property
    def plain(self) -> None:
        return None

    def receive(self, chunk: bytes) -> bytes:
        if not self._too_large:
            self._body += chunk
            self._too_large = len(self._body) > self._largest
        return b""

    def facts(self) -> tuple[Fact, ...]:
        facts, self._facts = self._facts, ()
        return facts

    def end_turn(self) -> Turn:
        if self._turn is not None:
            return self._turn
        if self._too_large:
            self._facts = (Unreadable("the answer is too large to be read"),)
            self._turn = Turn(outcome="cut")
            return self._turn
        body = bytes(self._body)
        answer = read_body(body, stored=self._stored)
        if not self._shown.turns and not may_name_ours(body):  # what it holds is for a request to go on with
            self._facts, self._turn = answer.facts, answer.turn
            return self._turn
        self._facts = tuple(fact for fact in answer.facts if not is_our_use(fact))
        response = response_object(body) or ResponseObject()
        self._items = items_in(bytes(response.output))
        stopped = response.status not in _STOPPED_SHORT
        self._turn = turn_of(answer.turn, self._items, stopped=stopped, stored=self._stored)
        return self._turn

    def finish(self) -> bytes:
        body, self._body = bytes(self._body), bytearray()
        return self._shown.response(body)

    def fail(self, _problem: Problem) -> bytes:
        self._body = bytearray()
        return b""

    def answer(self, turn: Turn, results: Sequence[ToolResult]) -> None:
        self._held.answer(turn, self._items, results)

    def next_turn(self) -> None:
        self._shown.add(bytes(self._body), self.response_id)
        self._body, self._items, self._turn = bytearray(), [], None

    def hidden(self) -> Hidden | None:
        return self._held.hidden(self.response_id, self._turn, self._items)

"""The turns of one chat reply: each gets a machine of its own, in a stream or whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from aibridge.dialects.base import Reply, Turn
from aibridge.dialects.chat_completions.errors import error_event
from aibridge.dialects.chat_completions.so_far import ReplySoFar
from aibridge.dialects.chat_completions.streamed_turn import LoopingReader
from aibridge.dialects.chat_completions.whole_turn import read_turn
from aibridge.dialects.reply import StreamedReply, WholeReply
from aibridge.dialects.turns import Hidden
from aibridge.tools import ToolResult


@dataclass(frozen=True, slots=True)
class ChatTurns:
    """See `aibridge.dialects.looping.Turns`."""

    so_far: ReplySoFar
    streamed: bool
    hides_usage: bool
    stored: bool

    @property
    def response_id(self) -> str | None:
        return self.so_far.response_id

    def begin(self) -> Reply:
        self.so_far.goes_on()
        if self.streamed:
            reader = LoopingReader(self.so_far, hides_usage=self.hides_usage, stored=self.stored)
            return StreamedReply(reader, error_event, passes_unread=False)
        return WholeReply(partial(read_turn, so_far=self.so_far, stored=self.stored))

    def answer(self, turn: Turn, results: Sequence[ToolResult]) -> None:
        self.so_far.answer(turn, results)

    def hidden(self) -> Hidden | None:
        return self.so_far.hidden()

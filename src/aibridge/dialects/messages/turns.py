"""The turns of one Messages reply: what they have in common, and what the client did not see of them.

The client sees the visible blocks of all turns in one message, its indexes consecutive, and the last turn's stop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from aibridge.dialects.base import Reply, Turn
from aibridge.dialects.calls import may_name_ours, unrunnable
from aibridge.dialects.messages.blocking import container_ids, read_body
from aibridge.dialects.messages.content import whole_block
from aibridge.dialects.messages.errors import error_event
from aibridge.dialects.messages.held import HeldTurn, Place, hidden_of, seen_block
from aibridge.dialects.messages.looping import LoopingReader
from aibridge.dialects.messages.said import Said, last_members
from aibridge.dialects.messages.tools import result_block
from aibridge.dialects.messages.usage import usage_of_all
from aibridge.dialects.reading import decoded, elements, mapping, text
from aibridge.dialects.reply import StreamedReply, WholeAnswer, WholeReply
from aibridge.dialects.turns import Hidden
from aibridge.tools import Text, ToolCall, ToolResult
from aibridge.wire.json_body import JsonObject, NotAnObject

_NOTHING = Said(blocks=(), stop_reason=None, container=None, usage={})


class MessagesTurns:
    """See `aibridge.dialects.looping.Turns`."""

    def __init__(self, *, stream: bool, place: Callable[[], Place]) -> None:
        self.response_id: str | None = None
        self.shown = 0  # blocks of the turns before this one that the client saw
        self._stream = stream
        self._place = place
        self._said: Said | None = None  # the turn that ended last
        self._unanswered: Sequence[ToolCall] = ()  # its calls of ours
        self._earlier: list[Said] = []
        self._held: list[HeldTurn] = []
        self._mixed = False

    @property
    def first(self) -> bool:
        return not self._earlier

    def begin(self) -> Reply:
        if self._said is not None:
            self._earlier.append(self._said)
            self.shown += sum(not block.ours for block in self._said.blocks)
            self._said = None
        return self._streamed() if self._stream else WholeReply(self._read)

    def _streamed(self) -> Reply:
        reader = LoopingReader(self.ended, self.usage, shown=self.shown, first=self.first)
        return StreamedReply(reader, error_event)

    def ended(self, turn: Turn, said: Said) -> Turn:
        """The turn with its calls of ours, for the interceptor."""
        self._said = said
        self.response_id = self.response_id or turn.response_id
        calls = said.calls
        if not calls:
            return turn
        carried = said.carried()
        runnable = turn.outcome == "complete" and not said.broken_off and carried != b""
        ours = tuple(
            ToolCall(
                call_id=call.id,
                tool_id=call.name,
                arguments=call.arguments,
                unrunnable=unrunnable(call.arguments, truncated=not runnable),
            )
            for call in calls
        )
        if turn.outcome == "complete" and carried:
            self._unanswered = ours
        return replace(turn, calls=ours, runnable=runnable, mixed=said.mixed, said=carried)

    def answer(self, turn: Turn, results: Sequence[ToolResult]) -> None:
        if self._said is not None and self._unanswered:
            self._held.append(_held_turn(self._said, turn.calls, results))
            self._mixed = turn.mixed
            self._unanswered = ()

    def hidden(self) -> Hidden | None:
        """A turn that ended for lack of room, or at a cap, is hidden too, with results that say so."""
        held, said, mixed = self._held, self._said, self._mixed
        if said is not None and self._unanswered:
            results = [_not_run(call) for call in self._unanswered]
            held, mixed = [*held, _held_turn(said, self._unanswered, results)], said.mixed
        if not held:
            return None
        last = () if said is None or len(self._earlier) < len(held) else said.blocks
        blocks = [seen_block(block.raw, False) for block in last if not block.ours and not block.empty]
        return hidden_of(held, blocks, mixed=mixed, place=self._place())

    def usage(self, written: bytes | None, last: Mapping[str, Any]) -> bytes | None:
        """The usage of all turns, if this one is the last; None: as it was written."""
        earlier = [said.usage for said in self._earlier]
        if not earlier or not (last or any(earlier)):
            return None
        return usage_of_all(written, earlier, last)

    def _read(self, body: bytes) -> WholeAnswer:
        answer = read_body(body, hiding=True)
        if self.first and not may_name_ours(body):
            self._said = _NOTHING  # to be carried or held
            self.response_id = answer.turn.response_id
            return answer
        message = mapping(decoded(body))
        if answer.turn.outcome != "complete" or not isinstance(message.get("content"), list):
            self._said = _NOTHING
            return answer
        try:
            found = JsonObject.parse(body)
            blocks = [whole_block(bytes(raw)) for raw in elements(found.raw("content"))]
        except NotAnObject:  # it can be read and not edited: a member's name is no UTF-8
            self._said = _NOTHING
            return answer
        said = Said(
            blocks=blocks,
            stop_reason=text(message.get("stop_reason")) or None,
            container=next(iter(container_ids(message)), None),
            usage=mapping(message.get("usage")),
        )
        turn = self.ended(answer.turn, said)
        if self.first and not turn.calls:
            return replace(answer, turn=turn)
        visible = [block.raw for one in (*self._earlier, said) for block in one.blocks if not block.ours]
        members = {
            "content": b"[" + b",".join(visible) + b"]",
            **last_members(found, calls=bool(said.calls), mixed=said.mixed),
        }
        usage = self.usage(found.raw("usage"), said.usage)
        if usage is not None:
            members["usage"] = usage
        return replace(answer, turn=turn, shown=found.with_members(members))


def _held_turn(said: Said, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> HeldTurn:
    blocks = [seen_block(block.carried, block.ours) for block in said.blocks if not block.empty]
    answers = [msgspec.Raw(result_block(call.call_id, result)) for call, result in zip(calls, results, strict=True)]
    return HeldTurn(blocks, answers)


def _not_run(call: ToolCall) -> ToolResult:
    why = call.unrunnable or "This call was not run, because the answer ended with it."
    return ToolResult(call_id=call.call_id, content=(Text(why),), error=why)

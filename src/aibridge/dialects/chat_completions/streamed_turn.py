"""One turn of a chat stream over several: what of its chunks the client gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from aibridge.dialects.base import Fact, Plain, Turn
from aibridge.dialects.chat_completions.assistant import assembled
from aibridge.dialects.chat_completions.chunks import Chunk, decoded_chunk, is_plain, without_traces
from aibridge.dialects.chat_completions.ending import PossibleEnd
from aibridge.dialects.chat_completions.facts import TurnFacts
from aibridge.dialects.chat_completions.plain_chunks import PlainChunks
from aibridge.dialects.chat_completions.seen_calls import SeenCalls
from aibridge.dialects.chat_completions.so_far import ReplySoFar
from aibridge.dialects.chat_completions.splicing import changed, readable_array, readable_object
from aibridge.dialects.openai_errors import describe, read_error
from aibridge.dialects.reading import decoded, mapping, text
from aibridge.wire.sse import event_block, is_one_event, parse_block

MAX_TURN = 32 * 1024 * 1024
"""How much of a turn is kept to be said again in the next request, in bytes. After a larger one the reply ends."""


@dataclass(frozen=True, slots=True)
class _Read:
    """An event that was read. `chunk` is None for one that tells nothing."""

    block: bytes
    data: bytes = b""
    chunk: Chunk | None = None
    pieces: Mapping[int, list[int]] | None = None
    goes_on: bool = False


class LoopingReader:
    """See `aibridge.dialects.reply.TurnReader`."""

    __slots__ = (
        "_blocks",
        "_calls",
        "_end",
        "_facts",
        "_first",
        "_held",
        "_hides_usage",
        "_left",
        "_plain",
        "_separator",
        "_so_far",
        "_waiting",
    )

    def __init__(self, so_far: ReplySoFar, *, hides_usage: bool, stored: bool) -> None:
        self._so_far = so_far
        self._hides_usage = hides_usage
        self._facts = TurnFacts(stored=stored)
        self._calls = SeenCalls(self._facts.calls)
        self._end = PossibleEnd()
        self._held = self._end.held
        self._plain = PlainChunks()
        self._first = so_far.turns == 0
        self._separator = so_far.separator()  # what is still to be put before this turn's text
        self._waiting: list[_Read] = []  # from the first piece on of which it is not known whose call it is part of
        self._blocks: list[bytes] = []  # all of the turn
        self._left = MAX_TURN

    @property
    def response_id(self) -> str | None:
        return self._facts.response_id

    def ended(self) -> bool:
        return self._facts.outcome != "cut"

    @property
    def plain(self) -> Plain:
        return self._passes

    def _passes(self, chunk: bytes) -> bool:
        if self._held or self._waiting or not is_one_event(chunk) or self._plain.shown(chunk) is not chunk:
            return False
        self._keep(chunk)
        return True

    def read(self, block: bytes) -> bytes:
        self._keep(block)
        if not self._held and not self._waiting and (shown := self._plain.shown(block)) is not None:
            return shown
        facts, event = self._facts, parse_block(block)
        if not event.data:
            return self._in_order(_Read(block))
        if event.data.startswith(b"[DONE]"):
            facts.outcome = "complete"
            return self._all_waiting() + (self._end.released() if self._calls.ours else b"") + block
        if event.name == b"error":
            facts.failed(read_error(event.data))
            return self._all_waiting() + block
        chunk = decoded_chunk(event.data)
        if chunk is None:
            facts.unreadable()
            return self._in_order(_Read(block))
        if chunk.error:
            facts.failed(describe(chunk.error))
            return self._all_waiting() + block
        goes_on = facts.take(chunk)
        return self._in_order(_Read(block, event.data, chunk, facts.pieces, goes_on))

    def _keep(self, block: bytes) -> None:
        self._left -= len(block)
        if self._left > 0:
            self._blocks.append(block)

    def held(self) -> bytes:
        return self._end.released()

    def facts(self) -> tuple[Fact, ...]:
        return self._facts.taken()

    def end(self) -> Turn:
        facts = self._facts
        if self._waiting:  # a call without a name is not ours
            self._held.append(self._all_waiting())
        if facts.outcome == "cut" and self._held and facts.over:
            facts.outcome = "complete"  # every choice is over, and nothing was missing of the last event
        calls = facts.end(ours_apart=True)
        kind, message = facts.problem
        turn = Turn(outcome=facts.outcome, response_id=facts.response_id, error_type=kind, error_message=message)
        usage, reason = facts.usage, facts.finish_reason
        return self._so_far.ended(turn, calls, usage=usage, finish_reason=reason, said=self._said)

    def _said(self) -> tuple[bytes, str]:
        if self._first:
            self._so_far.frame = _frame(self._blocks)
        message = assembled(self._blocks)
        return msgspec.json.encode(message) if self._left > 0 else b"", text(message["content"])

    # -- what the client gets --------------------------------------------------------------------------

    def _in_order(self, read: _Read) -> bytes:
        """What goes out now: this event, or nothing while it is not known whose call is told of."""
        if not self._waiting and (not read.pieces or self._calls.decided(read.pieces)):
            return self._placed(read)
        self._waiting.append(read)
        out: list[bytes] = []
        while self._waiting and self._calls.decided(self._waiting[0].pieces or {}):
            out.append(self._placed(self._waiting.pop(0)))
        return b"".join(out)

    def _all_waiting(self) -> bytes:
        waiting, self._waiting = self._waiting, []
        return b"".join(map(self._placed, waiting))

    def _placed(self, read: _Read) -> bytes:
        over, chunk = self._facts.over, read.chunk
        if chunk is None:
            return self._end.placed(read.block, goes_on=False, over=over)
        if read.pieces:
            self._calls.saw(read.pieces)
        if self._first and not self._calls.ours:
            shown = self._written(read, read.data)
            if is_plain(chunk):
                self._plain.learn(read.block, shown)
            return self._end.placed(shown, goes_on=read.goes_on, over=over)
        if read.goes_on and self._held and self._calls.ours:
            self._held[:] = [_unended(held) for held in self._held]  # the reply does not end here
        live, last = self._edited(read, chunk)
        out = (
            [self._end.placed(self._written(read, live), goes_on=read.goes_on, over=over and not last)] if live else []
        )
        if last:
            out.append(self._end.placed(self._written(read, last), goes_on=False, over=over))
        elif live and is_plain(chunk) and not self._separator:
            self._plain.learn(read.block, self._written(read, live))
        return b"".join(out)

    def _edited(self, read: _Read, chunk: Chunk) -> tuple[bytes, bytes]:
        """A chunk as the client gets it, and apart from that the end that it brings; b"": nothing is left to show."""
        found = readable_object(read.data)
        members: dict[str, bytes] = {}
        usage = found.raw("usage")
        if not self._first:
            members = {name: value for name, value in self._so_far.frame.items() if name in found}
            if usage is not None and usage[:1] == b"{":
                members["usage"] = self._so_far.usage_for_client(usage)
        objects = [raw for raw in readable_array(found.raw("choices")).elements() if raw[:1] == b"{"]
        edited = [
            self._choice(raw, mapping(decoded(raw)), (read.pieces or {}).get(place, []))
            for place, raw in enumerate(objects)
        ]
        if edited and not chunk.usage and all(choice.silent for choice in edited):
            return b"", b""
        if edited:
            members["choices"] = _array(choice.live for choice in edited)
        live = found.with_members(members)
        if not any(choice.last for choice in edited):
            return live, b""
        return live, found.with_members({**members, "choices": _array(choice.last for choice in edited if choice.last)})

    def _choice(self, raw: bytes, choice: Mapping[str, Any], numbers: list[int]) -> _Choice:
        delta, changes = mapping(choice.get("delta")), dict[str, bytes | None]()
        if not self._first and "role" in delta:
            changes["role"] = None
        content = delta.get("content")
        if self._separator and isinstance(content, str) and content:
            changes["content"] = msgspec.json.encode(self._separator + content)
            self._separator = ""
        found = readable_object(raw)
        told = found.raw("delta") or b"{}"
        if numbers:
            changes |= self._tool_calls(readable_object(told).raw("tool_calls"), numbers)
        says = any(value for name, value in delta.items() if changes.get(name, b"") is not None)
        edits: dict[str, bytes | None] = {"delta": changed(told, changes)} if changes else {}
        reason = choice.get("finish_reason")
        if not reason:
            return _Choice(changed(raw, edits), silent=not says and bool(changes))
        if self._calls.ours and not self._calls.clients and reason == "tool_calls":
            edits["finish_reason"] = b'"stop"'
        if not (self._calls.ours and says):
            return _Choice(changed(raw, edits))
        return _Choice(changed(raw, {**edits, "finish_reason": b"null"}), changed(raw, {**edits, "delta": b"{}"}))

    def _tool_calls(self, raw: bytes | None, numbers: list[int]) -> dict[str, bytes | None]:
        """The change of a delta's calls, of which ours are cut and the others moved up."""
        array, told = readable_array(raw), iter(numbers)
        kept: list[bytes] = []
        for piece in array.elements():
            number = next(told, None) if piece[:1] == b"{" else None  # only objects are counted
            if number is None:
                kept.append(piece)
            elif not self._calls.is_ours(number):
                shift, index = self._calls.shift(number), mapping(decoded(piece)).get("index")
                kept.append(changed(piece, {"index": str(index - shift).encode()}) if shift and index else piece)
        if not kept:
            return {"tool_calls": None} if len(array) else {}
        return {"tool_calls": _array(kept)} if kept != array.elements() else {}

    def _written(self, read: _Read, data: bytes) -> bytes:
        """An event with this data in the place of its own."""
        if self._hides_usage and read.chunk is not None:
            data = without_traces(data, read.chunk)
        return _in_block(read.block, read.data, data) if data else b""


@dataclass(frozen=True, slots=True)
class _Choice:
    """What is left of a choice. `last` is its end, where that must go out by itself; `silent`: nothing is left."""

    live: bytes
    last: bytes = b""
    silent: bool = False


def _array(elements: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(elements) + b"]"


def _in_block(block: bytes, old: bytes, new: bytes) -> bytes:
    if old == new:
        return block
    # Data in several lines is not found; it is written anew in one.
    return block.replace(old, new) if old in block else event_block(new)


def _unended(block: bytes) -> bytes:
    """An event without the finish reasons in it."""
    data = parse_block(block).data
    if not data or decoded_chunk(data) is None:
        return block
    found = readable_object(data)
    choices = readable_array(found.raw("choices")).elements()
    if not choices:
        return block
    without = _array(changed(choice, {"finish_reason": b"null"}) for choice in choices)
    return _in_block(block, data, found.with_members({"choices": without}))


def _frame(blocks: Iterable[bytes]) -> Mapping[str, bytes]:
    """What the chunks of one answer have alike: of the first that has an id."""
    for block in blocks:
        data = parse_block(block).data
        chunk = decoded_chunk(data) if data else None
        if data and chunk is not None and chunk.id:
            found = readable_object(data)
            return {name: value for name in ("id", "created") if (value := found.raw(name)) is not None}
    return {}

"""The events of one turn among several: those of ours are hidden, the others renumbered; the rest as it came.

Where nothing of ours was called, and nothing came before, every byte is the provider's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from aibridge.dialects.base import Plain, Turn
from aibridge.dialects.calls import is_ours
from aibridge.dialects.messages.blocking import container_ids
from aibridge.dialects.messages.content import ContentBlock, GrowingBlock
from aibridge.dialects.messages.said import Said, last_members
from aibridge.dialects.messages.stream import MessagesReader, index_of
from aibridge.dialects.reading import mapping, text
from aibridge.wire.json_body import JsonObject, NotAnObject
from aibridge.wire.sse import event_block, parse_block

MAX_KEPT = 32 * 1024 * 1024
"""How much content of one turn is kept for the next request, in bytes. A turn with more is not gone on from."""

# A piece of text in the spelling of the provider itself is most of a stream. It begins so, but for its index.
_TEXT_DELTA = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":"'
)
# How it goes on: the inside of a JSON string, and nothing but ends.
_REST_OF_PIECE = rb'[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+" *\} *\} *\n\n'
_UNREAD = 64 * 1024  # bytes of events that are kept as they came; what is not needed is never read


@lru_cache(64)  # by index: messages have few blocks
def _pieces(beginning: bytes) -> Callable[[bytes], object]:
    return re.compile(re.escape(beginning) + _REST_OF_PIECE).fullmatch


def _nothing(_block: bytes) -> bool:
    return False


class LoopingReader:
    """See `aibridge.dialects.reply.TurnReader`.

    `ended` takes what the turn said, `usage` gives what the client is told of all turns (None: what was written).
    """

    def __init__(
        self,
        ended: Callable[[Turn, Said], Turn],
        usage: Callable[[bytes | None, Mapping[str, Any]], bytes | None],
        *,
        shown: int,
        first: bool,
    ) -> None:
        self._take = ended
        self._usage = usage
        self._first = first
        self._offset = shown  # from an index of the turn's to the client's
        self._reader = MessagesReader(hiding=True)
        self.ended, self.facts = self._reader.ended, self._reader.facts  # asked for every event
        self._blocks: list[GrowingBlock] = []
        self._open: dict[int, GrowingBlock] = {}
        self._room = MAX_KEPT
        self._growing: GrowingBlock | None = None
        self._begin_plain(None, 0)
        self._calls = False
        self._mixed = False
        self._kept: list[bytes] = []  # the stop of a turn with calls of ours, and what follows it
        self._stop_reason: str | None = None
        self._container: str | None = None

    @property
    def response_id(self) -> str | None:
        return self._reader.response_id

    def held(self) -> bytes:
        kept = b"".join(self._kept)
        self._kept.clear()
        return kept

    @property
    def plain(self) -> Plain | None:
        return self._keeps if self._plain_shown is None and self._growing is not None else None

    def read(self, block: bytes) -> bytes:
        shown, piece_at = self._plain_shown, self._piece_at
        if self._keeps(block):
            return block if shown is None else shown + block[piece_at:]
        return self._decoded(block)

    def _keeps(self, block: bytes) -> bool:
        """Whether a block is a piece of the present text, and nothing else. It is kept then."""
        if not self._is_piece(block):
            return False
        self._unread.append(block)
        self._room -= len(block)
        if self._room < self._read_at:
            self._read_pieces()
        return True

    def _read_pieces(self) -> None:
        """Text takes less room than the events that it came in."""
        self._room += sum(growing.read_pieces() for growing in self._blocks)
        self._read_at = max(0, self._room - _UNREAD)
        if self._room <= 0:
            self._begin_plain(None, 0)

    def end(self) -> Turn:
        turn = self._reader.end()
        blocks: list[ContentBlock] = []
        if self._first and not self._calls:  # nobody will ask for what the client has seen all of
            self._blocks.clear()
        torn = self._room <= 0
        for growing in self._blocks:
            try:
                blocks.append(growing.whole())
            except NotAnObject:
                torn = True
        said = Said(
            blocks=blocks,
            stop_reason=self._stop_reason,
            container=self._container,
            usage=self._reader.usage,
            torn=torn,
        )
        return self._take(turn, said)

    def _decoded(self, block: bytes) -> bytes:
        kind, event = self._reader.event(block)
        match kind:
            case "content_block_start":
                return self.held() + self._start(index_of(event), mapping(event.get("content_block")), block)
            case "content_block_delta":
                return self.held() + self._grow(index_of(event), mapping(event.get("delta")), block)
            case "content_block_stop":
                index = index_of(event)
                growing = self._open.pop(index, None)
                if growing is self._growing:
                    self._begin_plain(None, 0)
                return self.held() + self._shown(growing, index, block)
            case "message_start":
                self._container = next(iter(container_ids(mapping(event.get("message")))), self._container)
                return block if self._first else b""
            case "message_delta":
                block = self._stopping(mapping(event.get("delta")), block)
            case "message_stop":
                return self.held() + block
        if self._kept or (kind == "message_delta" and self._calls):
            self._begin_plain(None, 0)
            self._kept.append(block)
            return b""
        return block

    def _start(self, index: int, seen: Mapping[str, Any], block: bytes) -> bytes:
        kind, name = text(seen.get("type")), text(seen.get("name"))
        ours = kind == "tool_use" and is_ours(name)
        growing = GrowingBlock(block, kind, text(seen.get("id")), name, None if ours else index + self._offset)
        if ours:
            self._calls = True
            self._offset -= 1
        elif kind == "tool_use":
            self._mixed = True
        self._blocks.append(growing)
        self._open[index] = growing
        if kind == "text" and index >= 0 and self._room > 0:
            self._begin_plain(growing, index)
        elif self._growing is not None:
            self._begin_plain(None, 0)
        return self._shown(growing, index, block)

    def _begin_plain(self, growing: GrowingBlock | None, index: int) -> None:
        """What comes next is taken for pieces of this text, and needs no decoding when it looks so; None: for nothing."""
        self._growing = growing
        beginning = _TEXT_DELTA % index
        self._is_piece = _nothing if growing is None else _pieces(beginning)
        self._piece_at = len(beginning)
        self._unread = [] if growing is None else growing.unread
        self._read_at = max(0, self._room - _UNREAD)
        self._plain_shown: bytes | None = None  # how the client's events begin, where that is not the same
        if growing is not None and growing.shown is not None and growing.shown != index:
            self._plain_shown = _TEXT_DELTA % growing.shown

    def _grow(self, index: int, delta: Mapping[str, Any], block: bytes) -> bytes:
        growing = self._open.get(index)
        if growing is self._growing and self._unread:
            self._read_pieces()  # which came before
        if growing is not None and self._room > 0:
            self._room -= growing.add(delta)
        return self._shown(growing, index, block)

    def _shown(self, growing: GrowingBlock | None, index: int, block: bytes) -> bytes:
        """An event of a content block as the client gets it."""
        shown = growing.shown if growing is not None else index + self._offset
        if shown is None:
            return b""
        return block if shown == index or index < 0 else _with_members(block, {"index": b"%d" % shown})

    def _stopping(self, delta: Mapping[str, Any], block: bytes) -> bytes:
        """How the turn stops, as the client is told if it is the last."""
        self._stop_reason = text(delta.get("stop_reason")) or self._stop_reason
        self._container = next(iter(container_ids(delta)), self._container)
        if self._first and not self._calls:
            return block
        try:
            data = JsonObject.parse(parse_block(block).data or b"{}")
            stop = JsonObject.parse(data.raw("delta") or b"{}")
        except NotAnObject:
            return block
        members: dict[str, bytes] = {}
        if changes := last_members(stop, calls=self._calls, mixed=self._mixed):
            members["delta"] = stop.with_members(changes)
        usage = self._usage(data.raw("usage"), self._reader.usage)
        if usage is not None:
            members["usage"] = usage
        return _with_members(block, members) if members else block


def _with_members(block: bytes, members: Mapping[str, bytes]) -> bytes:
    """The event with other members, in its own framing where that is one line of data."""
    said = parse_block(block)
    data = said.data or b"{}"
    try:
        changed = JsonObject.parse(data).with_members(members)
    except NotAnObject:
        return block
    if block.count(data) == 1:
        return block.replace(data, changed)
    return event_block(changed.replace(b"\n", b" "), said.name)

"""The events of one turn as the client of a reply over several turns may see them.

Calls of ours are hidden, and what follows them moves up: places in the output and numbers of events stay consecutive.
An event that neither holds anything of ours nor stands behind something hidden passes in the provider's bytes.
"""

from __future__ import annotations

import re

import msgspec

from aibridge.dialects.base import Turn
from aibridge.dialects.calls import may_name_ours
from aibridge.dialects.reading import Kept, text
from aibridge.dialects.responses.blocking import ResponseObject, response_object
from aibridge.dialects.responses.decoding import read
from aibridge.dialects.responses.events import TERMINAL, Event, Place, place_of
from aibridge.dialects.responses.items import Item, item_of, names_of, with_written
from aibridge.dialects.responses.shown import Shown
from aibridge.dialects.responses.tools import without_ours
from aibridge.dialects.responses.turn_items import is_our_call, items_in, turn_of
from aibridge.wire.json_body import JsonObject, NotAnObject
from aibridge.wire.sse import event_block, parse_block

_ABOUT_CALLS = ("response.output_item.", "response.function_call_", "response.custom_tool_call_")
_OPENING = frozenset({"response.created", "response.queued", "response.in_progress"})
_TOOLS = re.compile(rb'"tools"[ ]?:[ ]?')
# An event whose first members, up to both numbers, hold neither escapes nor brackets: nearly every one.
_SIMPLE = rb'(?:,[ ]?"\w+":[ ]?(?:"[^"\\]*+"|\d+))*?,[ ]?'
_NUMBERS = re.compile(
    rb'((?:event: [^\r\n]*+\r?\n)?data: \{"type":[ ]?"[\w.]+"' + _SIMPLE + rb'"sequence_number":[ ]?)(\d+)'
    rb"(?:(" + _SIMPLE + rb'"output_index":[ ]?)(\d+))?(?=[,}])'
)


class _Numbered(msgspec.Struct):
    sequence_number: int = -1  # of servers that do not number their events


_NUMBERED = msgspec.json.Decoder(_Numbered)


def number_of(block: bytes) -> int:
    """The sequence number of an event, or -1."""
    numbered = read(_NUMBERED, parse_block(block).data or b"{}")
    return numbered.sequence_number if numbered is not None else -1


class TurnView:
    """Shows one turn. `first_place` is where its first visible item stands in the reply, `last_number` the sequence
    number of the last event that the client has (-1 in the first turn, whose numbers are the provider's).
    """

    __slots__ = (
        "_final", "_first_place", "_hidden", "_items", "_next_number", "_others", "_shift", "_shown",
        "_terminal", "_top", "_unfinished", "_written", "items", "moves",
    )  # fmt: skip

    def __init__(self, shown: Shown, first_place: int = 0, last_number: int = -1) -> None:
        self._shown = shown
        self._first_place = first_place
        self._next_number = last_number + 1 if shown.turns else None  # until the first numbered event has come
        self._shift = 0  # the client's sequence numbers less the provider's
        self.moves = shown.turns > 0
        """Places or numbers of events differ from the provider's."""
        self._hidden: set[Place] = set()
        self._top = -1
        self._items: dict[Place, tuple[bytes, Item]] = {}
        self._others: list[tuple[bytes, Item]] = []  # of places that had an item already
        self._unfinished: dict[Place, Item] = {}  # calls of ours that are not done
        self._written = Kept()
        self._terminal = ""
        self._final = b""
        self.items: list[tuple[bytes, Item]] = []
        """The items of the turn in their order, once it has ended; none where nothing of ours was or came before."""

    def event(self, kind: str, event: Event, response: ResponseObject | None, block: bytes) -> bytes:
        """What the client gets of an event; b"" for one that it must not see. `response` is what is in it."""
        if isinstance(event.sequence_number, int):
            self._go_on_with(event.sequence_number)
        if kind in _OPENING or kind in TERMINAL:
            return self._lifecycle(kind, event, response or ResponseObject(), block)
        place = place_of(event)
        if kind in ("response.output_item.added", "response.output_item.done"):
            item = item_of(event.item)
            place = place_of(event, item)
            if item is not None:
                self._see(kind, place, event.item, item)
        if isinstance(place, int):
            self._top = max(self._top, place)
        if place in self._hidden and (place != "" or kind.startswith(_ABOUT_CALLS)):
            self._written.add(place, text(event.delta))
            return self._drop(event)
        return self.renumbered(block) if self.moves else block

    def ended(self, turn: Turn, *, stored: bool) -> Turn:
        """The turn with the calls of ours that it holds."""
        if not self.moves and not may_name_ours(self._final):  # no request goes on from here with what it holds
            return turn
        for place, item in self._unfinished.items():
            written = with_written(item, self._written.take(place))
            whole = (msgspec.json.encode(written), written)
            if self._items.setdefault(place, whole) is not whole:
                self._others.append(whole)
        placed = sorted(self._items.items(), key=lambda one: one[0] if isinstance(one[0], int) else 0)
        self.items = [one for _, one in placed] + self._others
        known = {name for _, item in self.items for name in names_of(item)}
        for index, (raw, item) in enumerate(items_in(bytes((response_object(self._final) or ResponseObject()).output))):
            if index not in self._items and known.isdisjoint(names_of(item)):
                self.items.append((raw, item))  # of a server that says at the end what it did not say before
        return turn_of(turn, self.items, stopped=self._terminal == "response.completed", stored=stored)

    def next(self, response_id: str | None, last: bytes) -> TurnView:
        """The view of the turn that follows. `last` is the last event that the client has."""
        before = len(self._shown.items)
        self._shown.add(self._final, response_id)
        # What the client counts: what was in the stream, or else in the response at its end.
        hidden = sum(isinstance(one, int) for one in self._hidden)
        visible = max(len(self._shown.items) - before, self._top + 1 - hidden)
        return TurnView(self._shown, self._first_place + visible, number_of(last))

    def _see(self, kind: str, place: Place, raw: msgspec.Raw, item: Item) -> None:
        if is_our_call(item):
            self._hidden.add(place)
            self.moves = True
            self._unfinished[place] = item
        else:
            self._hidden.discard(place)  # another item takes the place, on servers that give all the same
        if kind == "response.output_item.done":
            if place in self._unfinished and is_our_call(item):
                del self._unfinished[place]
            if place in self._items:
                self._others.append((bytes(raw), item))
            else:
                self._items[place] = (bytes(raw), item)

    def _lifecycle(self, kind: str, event: Event, response: ResponseObject, block: bytes) -> bytes:
        if kind in TERMINAL:
            self._terminal, self._final = kind, bytes(event.response)
        elif self._shown.turns:
            return self._drop(event)
        if self._shown.is_as_it_came(bytes(response.output)):
            # Every stream holds the tools three times: they are cut out without another look at the rest.
            block = _with_tools(block, bytes(response.tools))
        else:
            said = bytes(event.response)
            shown = self._shown.response(said)
            block = _edited(block, {"response": shown}) if shown != said else block
        return self.renumbered(block) if self.moves else block

    def _drop(self, event: Event) -> bytes:
        if isinstance(event.sequence_number, int):
            self._shift -= 1
            self.moves = True
        return b""

    def renumbered(self, block: bytes) -> bytes:
        found = _NUMBERS.match(block)
        if found is None or (found[4] is None and b'"output_index"' in block):
            return self._renumbered_slowly(block)
        self._go_on_with(int(found[2]))
        pieces = [found[1], str(int(found[2]) + self._shift).encode()]
        if found[4] is not None:
            pieces += (found[3], str(self._place(int(found[4]))).encode())
        return b"".join((*pieces, block[found.end() :]))

    def _renumbered_slowly(self, block: bytes) -> bytes:
        try:
            found = JsonObject.parse(parse_block(block).data or b"")
        except NotAnObject:
            return block
        edits: dict[str, bytes] = {}
        number, place = found.raw("sequence_number"), found.raw("output_index")
        if number is not None and number.isdigit():
            self._go_on_with(int(number))
            edits["sequence_number"] = str(int(number) + self._shift).encode()
        if place is not None and place.isdigit():
            edits["output_index"] = str(self._place(int(place))).encode()
        return _edited(block, edits)

    def _go_on_with(self, number: int) -> None:
        """The first number of a turn follows the last one that the client has."""
        if self._next_number is not None:
            self._shift, self._next_number = self._next_number - number, None

    def _place(self, place: int) -> int:
        before = sum(1 for one in self._hidden if isinstance(one, int) and one < place)
        return self._first_place + place - before


def _with_tools(block: bytes, tools: bytes) -> bytes:
    """An event without our tools in the echo of the request."""
    left = without_ours(tools)
    if left is tools:
        return block
    start = next((name.end() for name in _TOOLS.finditer(block) if block.startswith(tools, name.end())), None)
    return block if start is None else block[:start] + left + block[start + len(tools) :]


def _edited(block: bytes, edits: dict[str, bytes]) -> bytes:
    """An event with other members."""
    said = parse_block(block)
    if said.data is None or not edits:
        return block
    try:
        data = JsonObject.parse(said.data).with_members(edits)
    except NotAnObject:
        return block
    if said.data in block:
        return block.replace(said.data, data, 1)
    return event_block(data.replace(b"\n", b" "), said.name)  # its data came in several lines

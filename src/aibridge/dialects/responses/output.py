"""The items of one streamed response, from the event that adds each to the one that says that it is done.

A done item holds all of itself. What leads up to it is kept only for a stream that breaks off, and of an answer's
text nothing at all: it is no fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from aibridge.dialects.base import Thought, ToolUse
from aibridge.dialects.reading import Kept
from aibridge.dialects.responses.events import Place
from aibridge.dialects.responses.items import (
    WRITTEN,
    Item,
    is_call,
    is_commentary,
    names_of,
    text_of,
    thoughts,
    tool_use,
    with_written,
)


@dataclass(slots=True, eq=False)
class _Open:
    """An item that was added and is not done. Its pieces are kept under itself and one of `parts`."""

    place: Place
    item: Item
    kind: str
    parts: dict[tuple[str, int], None] = field(default_factory=dict)  # source of the thought, and number of the part


class Output:
    """Keeps what is needed to tell every call and every thought once, also of items that never get done."""

    __slots__ = ("_calls", "_displaced", "_done", "_kept", "_known", "_open", "reads_text")

    def __init__(self) -> None:
        self.reads_text = False
        """A commentary message is open: deltas of text are thoughts."""
        self._open: dict[Place, _Open] = {}
        self._displaced: list[_Open] = []  # another item was added in their place
        self._kept = Kept()
        self._done: set[Place] = set()
        self._known: set[str] = set()  # ids of items that are done, and of their calls
        self._calls: list[tuple[Place, ToolUse]] = []

    def begin(self, place: Place, item: Item) -> None:
        kind = text_of(item, "type")
        if not (is_call(kind) or kind == "reasoning" or (kind == "message" and is_commentary(item))):
            return
        if place in self._open:
            self._displaced.append(self._open[place])
        self._open[place] = _Open(place, item, kind)
        self.reads_text |= kind == "message"

    def add(self, place: Place, event: str, number: int, delta: str) -> None:
        """A piece of an item, as a delta event says it; `number` is the index of the part that it belongs to."""
        opened = self._open.get(place)
        if opened is None:
            return
        match event, opened.kind:
            case "response.reasoning_summary_text.delta", "reasoning":
                part = ("reasoning_summary", number)
            case "response.reasoning_text.delta", "reasoning":
                part = ("reasoning", number)
            case "response.output_text.delta", "message":
                part = ("commentary", number)
            case _, kind if kind in WRITTEN:
                part = ("", 0)
            case _:
                return
        opened.parts[part] = None
        self._kept.add((opened, part), delta)

    def complete(self, place: Place, item: Item) -> Iterator[Thought]:
        """The item is whole: its thoughts; its call is told at the end."""
        opened = self._open.pop(place, None)
        if opened is not None:
            self._pieces(opened)
            self.reads_text = any(other.kind == "message" for other in self._open.values())
        self._done.add(place)
        self._known |= names_of(item)
        self._call(place, item)
        return thoughts(item)

    def missed(self, items: Iterable[Item]) -> Iterator[tuple[int, Item]]:
        """Those of the terminal event's items that were not done before it.

        Some servers count items otherwise there, some give them other ids: one of both is enough to know an item.
        """
        for index, item in enumerate(items):
            if index not in self._done and self._known.isdisjoint(names_of(item)):
                yield index, item

    def end(self, response_id: str | None) -> Iterator[Thought | ToolUse]:
        """What came of the items that are not done, and all calls in the order of the output."""
        for opened in (*self._displaced, *self._open.values()):
            pieces = self._pieces(opened)
            if not self._known.isdisjoint(names_of(opened.item)):
                continue
            if is_call(opened.kind):
                self._call(opened.place, with_written(opened.item, "".join(text for _, text in pieces)))
            else:
                yield from (Thought(content=text, source=source) for source, text in pieces if text)
        self._displaced, self._open = [], {}
        for _, call in sorted(self._calls, key=lambda placed: placed[0] if isinstance(placed[0], int) else 0):
            yield replace(call, response_id=response_id)
        self._calls = []

    def _pieces(self, opened: _Open) -> list[tuple[str, str]]:
        """What was kept of an item, which is forgotten: source and text."""
        return [(part[0], self._kept.take((opened, part))) for part in opened.parts]

    def _call(self, place: Place, item: Item) -> None:
        if (call := tool_use(item, None)) is not None:
            self._calls.append((place, call))

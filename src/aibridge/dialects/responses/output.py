"""The items of one streamed response, from the event that adds each to the one that says that it is done.

A done item holds all of itself. What leads up to it is kept only for a stream that breaks off, and of an answer's
text nothing at all: it is no fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from aibridge.dialects.base import Thought, ToolUse
from aibridge.dialects.reading import Kept
from aibridge.dialects.responses.items import (
    WRITTEN,
    Item,
    is_call,
    is_commentary,
    text_of,
    thoughts,
    tool_use,
    with_written,
)

_Part = tuple[int, str, int]  # output index, source of the thought ("": a call's own text), index within the item


@dataclass(slots=True)
class _Open:
    """An item that was added and is not done."""

    item: Item
    kind: str
    parts: dict[_Part, None] = field(default_factory=dict)


class Output:
    """Keeps what is needed to tell every call and every thought once, also of items that never get done."""

    __slots__ = ("_calls", "_done", "_kept", "_known", "_open", "reads_text")

    def __init__(self) -> None:
        self.reads_text = False
        """A commentary message is open: deltas of text are thoughts."""
        self._open: dict[int, _Open] = {}  # by output index
        self._kept = Kept()
        self._done: set[int] = set()  # output indexes
        self._known: set[str] = set()  # ids of items that are done, and of their calls
        self._calls: list[tuple[int, ToolUse]] = []

    def begin(self, index: int, item: Item) -> None:
        kind = text_of(item, "type") or ""
        if is_call(kind) or kind == "reasoning" or (kind == "message" and is_commentary(item)):
            self._open[index] = _Open(item, kind)
            self.reads_text |= kind == "message"

    def add(self, index: int, event: str, number: int, delta: str) -> None:
        """A piece of an item, as a delta event says it; `number` is the index of the part that it belongs to."""
        opened = self._open.get(index)
        if opened is None:
            return
        match event, opened.kind:
            case "response.reasoning_summary_text.delta", "reasoning":
                part = (index, "reasoning_summary", number)
            case "response.reasoning_text.delta", "reasoning":
                part = (index, "reasoning", number)
            case "response.output_text.delta", "message":
                part = (index, "commentary", number)
            case _, kind if kind in WRITTEN:
                part = (index, "", 0)
            case _:
                return
        opened.parts[part] = None
        self._kept.add(part, delta)

    def complete(self, index: int, item: Item) -> Iterator[Thought]:
        """The item is whole: its thoughts; its call is told at the end."""
        opened = self._open.pop(index, None)
        for part in opened.parts if opened is not None else ():
            self._kept.take(part)
        self.reads_text = any(other.kind == "message" for other in self._open.values())
        self._done.add(index)
        self._known.update(_names(item))
        self._call(index, item)
        return thoughts(item)

    def missed(self, items: Iterable[Item]) -> Iterator[tuple[int, Item]]:
        """Those of the terminal event's items that were not done before it.

        Some servers count items otherwise there, some give them other ids: one of both is enough to know an item.
        """
        for index, item in enumerate(items):
            if index not in self._done and self._known.isdisjoint(_names(item)):
                yield index, item

    def end(self, response_id: str | None) -> Iterator[Thought | ToolUse]:
        """What came of the items that are not done, and all calls in the order of the output."""
        for index, opened in self._open.items():
            texts = [(part[1], self._kept.take(part)) for part in opened.parts]
            if is_call(opened.kind):
                self._call(index, with_written(opened.item, "".join(text for _, text in texts)))
            else:
                yield from (Thought(content=text, source=source) for source, text in texts if text)
        self._open = {}
        for _, call in sorted(self._calls, key=lambda numbered: numbered[0]):
            yield replace(call, response_id=response_id)
        self._calls = []

    def _call(self, index: int, item: Item) -> None:
        if (call := tool_use(item, None)) is not None:
            self._calls.append((index, call))


def _names(item: Item) -> set[str]:
    return {name for name in (text_of(item, "id"), text_of(item, "call_id")) if name is not None}

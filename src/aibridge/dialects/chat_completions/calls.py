"""The tool calls of one chat answer, put together from the pieces in which a stream sends them.

Lenient, because servers are. A piece belongs to the call at its index (without one: at its place in the list). A new
call begins there when a piece brings another id together with a name, or another name after arguments have come.
Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aibridge.dialects.base import ToolUse
from aibridge.dialects.calls import is_ours
from aibridge.dialects.reading import Kept, mapping, text, tool_input
from aibridge.tools import PREFIX

_LEGACY = "function_call"


@dataclass(frozen=True, slots=True)
class Called:
    """One call, put together. `written` is what the model wrote for the tool, as far as it came."""

    number: int
    id: str | None
    name: str
    written: str
    custom: bool
    legacy: bool  # the `function_call` of before there were `tool_calls`

    @property
    def ours(self) -> bool:
        return not self.legacy and is_ours(self.name)

    @property
    def answered_as(self) -> str:
        """The id under which the call is answered: servers that give none get one."""
        return self.id or f"call_{self.number}"

    def use(self, response_id: str | None) -> ToolUse:
        given = (self.written if self.written.strip() else None) if self.custom else tool_input(self.written)
        return ToolUse(response_id=response_id, call_id=self.id, tool=self.name, input=given)


@dataclass(slots=True)
class _Call:
    choice: int
    id: str | None
    name: str
    custom: bool
    legacy: bool
    index: int | None
    has_input: bool = False


class Calls:
    """Calls in the order in which they began, over all choices."""

    __slots__ = ("_at", "_calls", "_kept")

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._calls: list[_Call] = []
        self._at: dict[tuple[int, Any], int] = {}  # the call that a choice's pieces with this index are part of

    def add(self, choice: int, found: Mapping[str, Any], *, whole: bool = False) -> list[int]:
        """Takes the calls in a delta, or in a `whole` message, where each is one; the number of the call of each."""
        pieces, legacy = found.get("tool_calls"), found.get("function_call")
        numbers: list[int] = []
        if isinstance(pieces, list):
            for place, piece in enumerate(pieces):
                if isinstance(piece, dict):
                    numbers.append(self._add_piece(choice, place, {**piece, "index": place} if whole else piece))
        if isinstance(legacy, dict):
            numbers.append(self._add_piece(choice, _LEGACY, {"function": legacy}))
        return numbers

    def is_ours(self, number: int) -> bool | None:
        """Whether a call is of an injected tool; None while too little of its name has come."""
        call = self._calls[number]
        if call.legacy or (call.has_input and call.name and not is_ours(call.name)):
            return False
        return True if is_ours(call.name) else None if PREFIX.startswith(call.name) else False

    def ours_before(self, number: int) -> int:
        """How many calls of ours have a lower index in the same choice."""
        call = self._calls[number]
        ours = (one for one in self._calls if one.choice == call.choice and is_ours(one.name) and not one.legacy)
        return len({one.index for one in ours if one.index is not None and one.index < (call.index or 0)})

    def take(self) -> list[Called]:
        """The calls, which are forgotten."""
        called = [
            Called(number, call.id, call.name, self._kept.take(number), call.custom, call.legacy)
            for number, call in enumerate(self._calls)
            if call.id or call.name or call.has_input
        ]
        self._calls, self._at = [], {}
        return called

    def _add_piece(self, choice: int, place: int | str, piece: Mapping[str, Any]) -> int:
        custom = isinstance(piece.get("custom"), dict)
        named = mapping(piece.get("custom" if custom else "function"))
        call_id, name = text(piece.get("id")), text(named.get("name"))
        number = self._number(choice, piece.get("index"), place, call_id, name)
        call = self._calls[number]
        call.id = call.id or call_id or None
        call.custom = call.custom or custom
        if name != call.name:  # a name that is repeated with every piece is one name
            call.name += name
        given = named.get("input" if custom else "arguments")
        if given not in (None, ""):
            call.has_input = True
            self._kept.add(number, given if isinstance(given, str) else json.dumps(given))
        return number

    def _number(self, choice: int, index: Any, place: int | str, call_id: str, name: str) -> int:
        at = (choice, index if isinstance(index, int) else place)
        if not isinstance(index, int) and call_id:
            for number, call in enumerate(self._calls):
                if (call.choice, call.id) == (choice, call_id):
                    return number
        number = self._at.get(at, -1)
        if number < 0 or _begins(self._calls[number], call_id, name):
            self._at[at] = number = len(self._calls)
            given = index if isinstance(index, int) else None
            self._calls.append(_Call(choice, None, "", custom=False, legacy=place == _LEGACY, index=given))
        return number


def is_our_call(call: Mapping[str, Any]) -> bool:
    """Whether a call, as it stands in a message, is of an injected tool."""
    return is_ours(text(mapping(call.get("custom") or call.get("function")).get("name")))


def _begins(known: _Call, call_id: str, name: str) -> bool:
    if not name:
        return False
    return bool(known.id and call_id and call_id != known.id) or (known.has_input and name != known.name)

"""Content blocks of an assistant's message, whole or growing out of a stream's deltas.

A block keeps the bytes in which it came: members that nobody here knows, the spelling of a tool's input, its order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from aibridge.dialects.calls import is_ours
from aibridge.dialects.reading import decoded, mapping, text
from aibridge.wire.json_body import JsonObject
from aibridge.wire.sse import parse_block

_TEXT = b'"text":"'
_WITH_INPUT = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


@dataclass(frozen=True, slots=True)
class ContentBlock:
    """One block, whole. `raw` is its JSON."""

    raw: bytes
    kind: str
    id: str = ""
    name: str = ""
    arguments: str = ""  # of a call: the input as the model wrote it

    @property
    def ours(self) -> bool:
        return self.kind == "tool_use" and is_ours(self.name)

    @property
    def carried(self) -> bytes:
        """The block as a history may carry it: the API takes objects as a call's input, and nothing else.

        What is none is wrapped as Anthropic advises
        (https://docs.claude.com/en/docs/agents-and-tools/tool-use/fine-grained-tool-streaming).
        """
        if self.kind not in _WITH_INPUT or isinstance(decoded(self.arguments.encode("utf-8", "replace")), dict):
            return self.raw
        wrapped = b'{"INVALID_JSON":' + msgspec.json.encode(self.arguments) + b"}"
        return JsonObject.parse(self.raw).with_members({"input": wrapped if self.arguments.strip() else b"{}"})

    @property
    def empty(self) -> bool:
        """A text without a word, which providers send and refuse to be sent."""
        return self.kind == "text" and not text(mapping(decoded(self.raw)).get("text")).strip()


def whole_block(raw: bytes) -> ContentBlock:
    """A block of a blocking answer's content. Raises: NotAnObject, for a call that could not be edited."""
    seen = mapping(decoded(raw))
    kind, arguments = text(seen.get("type")), b""
    if kind in _WITH_INPUT:
        arguments = JsonObject.parse(raw).raw("input") or b""
    return ContentBlock(raw, kind, text(seen.get("id")), text(seen.get("name")), arguments.decode("utf-8", "replace"))


@dataclass(slots=True, eq=False)
class GrowingBlock:
    """A block that has begun. Texts are kept as the inside of a JSON string, so that their spelling survives."""

    start: bytes  # the event with which it began
    kind: str
    id: str
    name: str
    shown: int | None  # its index for the client; None: it is hidden
    unread: list[bytes] = field(default_factory=list)
    """Events with what comes next of the text, as its last string."""
    _text: bytearray = field(default_factory=bytearray)
    _thinking: bytearray = field(default_factory=bytearray)
    _input: list[str] = field(default_factory=list)
    _citations: list[bytes] = field(default_factory=list)
    _others: dict[str, bytes] = field(default_factory=dict)

    def add(self, delta: Mapping[str, Any]) -> int:
        """Takes a delta; returns how much is kept of it, in bytes."""
        match delta.get("type"):
            case "text_delta":
                self.read_pieces()
                piece = _inside(text(delta.get("text")))
                self._text += piece
            case "thinking_delta":
                piece = _inside(text(delta.get("thinking")))
                self._thinking += piece
            case "input_json_delta":
                self._input.append(text(delta.get("partial_json")))
                return len(self._input[-1])
            case "citations_delta":
                piece = msgspec.json.encode(delta.get("citation"))
                self._citations.append(piece)
            case _:
                # A signature, and what is not known yet: each delta says the whole of its members.
                further = {name: msgspec.json.encode(value) for name, value in delta.items() if name != "type"}
                self._others.update(further)
                return sum(map(len, further.values()))
        return len(piece)

    def read_pieces(self) -> int:
        """Makes text of the events that were kept unread; returns how many bytes less that is."""
        before, events = len(self._text), self.unread[:]
        self.unread.clear()
        for event in events:
            self._text += event[event.index(_TEXT) + len(_TEXT) : event.rindex(b'"')]
        return sum(map(len, events)) - (len(self._text) - before)

    def whole(self) -> ContentBlock:
        """The block with all that came. Raises: NotAnObject, when it began as nothing of the kind."""
        self.read_pieces()
        began = JsonObject.parse(parse_block(self.start).data or b"{}")
        started = JsonObject.parse(began.raw("content_block") or b"{}")
        members = dict(self._others)
        for name, grown in (("text", self._text), ("thinking", self._thinking)):
            if grown:
                before = started.raw(name) or b""
                members[name] = b'"' + (before[1:-1] if before[:1] == b'"' else b"") + bytes(grown) + b'"'
        if self._citations:
            known = (started.raw("citations") or b"").strip()
            earlier = [known[1:-1]] if known[:1] == b"[" and known[1:-1].strip() else []
            members["citations"] = b"[" + b",".join([*earlier, *self._citations]) + b"]"
        arguments = "".join(self._input)
        written = arguments.encode("utf-8", "replace")
        if isinstance(decoded(written), dict):
            members["input"] = written
        elif not arguments.strip():
            arguments = (started.raw("input") or b"").decode("utf-8", "replace")
        raw = started.with_members(members) if members else started.text
        return ContentBlock(raw, self.kind, self.id, self.name, arguments)


def _inside(value: str) -> bytes:
    """A string's JSON without its quotes."""
    return msgspec.json.encode(value)[1:-1]

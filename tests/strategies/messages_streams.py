"""Well-formed Messages streams, with what they tell: blocks of all kinds, noise between events, any framing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from aibridge.dialects.base import Fact, Thought, TokenUsage, ToolUse
from aibridge.records import JsonValue

_WORDS = st.text(max_size=8)
_NOISE = st.sampled_from(
    [
        b": comment\n\n",
        b'event: ping\ndata: {"type":"ping"}\n\n',
        b'event: novelty\ndata: {"type":"novelty","delta":{"thinking":"x"},"usage":{"output_tokens":1}}\n\n',
        b"id: 1\nretry: 10\n\n",
        b"\n\n",
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=5,
)
_ARGUMENTS: st.SearchStrategy[JsonValue] = st.dictionaries(_WORDS, _JSON, max_size=3).map(lambda drawn: {**drawn})
_COUNTS = st.fixed_dictionaries(
    {},
    optional={
        "input_tokens": st.none() | st.integers(0, 10**6),
        "output_tokens": st.none() | st.integers(0, 10**6),
        "cache_read_input_tokens": st.none() | st.integers(0, 10**6),
        "cache_creation_input_tokens": st.none() | st.integers(0, 10**6),
    },
)


@dataclass(frozen=True, slots=True)
class MessagesStream:
    """A stream event by event, the terminal one last, and the facts that are in it."""

    events: tuple[bytes, ...]
    facts: tuple[Fact, ...]
    response_id: str

    @property
    def text(self) -> bytes:
        return b"".join(self.events)


@dataclass(frozen=True, slots=True)
class _Spelling:
    named: bool
    spaced: bool
    ascii: bool
    crlf: bool

    def event(self, value: dict[str, Any]) -> bytes:
        separators = (", ", ": ") if self.spaced else (",", ":")
        lines = [f"event: {value['type']}"] if self.named else []
        lines.append("data: " + json.dumps(value, ensure_ascii=self.ascii, separators=separators))
        return self.framed(("\n".join(lines) + "\n\n").encode())

    def framed(self, block: bytes) -> bytes:
        return block.replace(b"\n", b"\r\n") if self.crlf else block


@st.composite
def messages_streams(draw: st.DrawFn) -> MessagesStream:
    """A whole, well-formed stream that ends with `message_stop`."""
    spelling = _Spelling(*(draw(st.booleans()) for _ in range(4)))
    first, last = draw(_COUNTS), draw(_COUNTS)
    message = {"id": "msg_drawn", "type": "message", "role": "assistant", "content": [], "usage": first}
    values: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    thoughts: list[Fact] = []
    calls: list[Fact] = []
    for index in range(draw(st.integers(0, 4))):
        started, deltas, fact = draw(_blocks(f"id_{index}"))
        values.append({"type": "content_block_start", "index": index, "content_block": started})
        values += ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
        values.append({"type": "content_block_stop", "index": index})
        if isinstance(fact, Thought):
            thoughts.append(fact)
        elif fact is not None:
            calls.append(fact)
    values.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": last})
    values.append({"type": "message_stop"})
    events: list[bytes] = []
    for value in values:
        events += (spelling.framed(noise) for noise in draw(st.lists(_NOISE, max_size=1)))
        events.append(spelling.event(value))
    return MessagesStream(tuple(events), (*thoughts, *calls, _usage(first, last)), "msg_drawn")


@st.composite
def _blocks(draw: st.DrawFn, block_id: str) -> tuple[dict[str, Any], Sequence[dict[str, Any]], Fact | None]:
    """A content block: how it starts, its deltas, and the fact in it."""
    pieces = draw(st.lists(_WORDS, max_size=4))
    signed = {"type": "signature_delta", "signature": "c2ln"}
    match draw(st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "novelty"])):
        case "text":
            return {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces], None
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces]
            content = "".join(pieces)
            thought = Thought(content=content, source="thinking") if content else None
            return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed], thought
        case "tool_use" | "server_tool_use" as kind:
            arguments = draw(_ARGUMENTS)
            written = json.dumps(arguments)
            cut = draw(st.integers(0, len(written)))
            deltas = [{"type": "input_json_delta", "partial_json": one} for one in ("", written[:cut], written[cut:])]
            started = {"type": kind, "id": block_id, "name": "tool", "input": {}}
            return started, deltas, ToolUse(response_id="msg_drawn", call_id=block_id, tool="tool", input=arguments)
        case kind:
            return {"type": kind, "data": "eA=="}, [], None


def _usage(first: dict[str, int | None], last: dict[str, int | None]) -> TokenUsage:
    known = {
        **{name: number for name, number in first.items() if number is not None},
        **{name: number for name, number in last.items() if number is not None},
    }
    return TokenUsage(
        response_id="msg_drawn",
        input_tokens=known.get("input_tokens", 0),
        output_tokens=known.get("output_tokens", 0),
        cache_read_tokens=known.get("cache_read_input_tokens", 0),
        cache_write_tokens=known.get("cache_creation_input_tokens", 0),
    )

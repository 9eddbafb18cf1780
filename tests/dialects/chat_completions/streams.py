"""Well-formed chat streams, drawn at random together with what must come of them.

Nothing here uses the code under test: a stream is made as objects, and what the client must get is made from the
same objects without the traces that our asking for usage leaves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from aibridge.dialects.base import Fact, Thought, TokenUsage, ToolUse

# Text that looks like what the code looks for, besides any other.
_TRAPS = (
    '"usage":null',
    '"content":"',
    ',"usage":null}',
    "\\",
    '"',
    "\n\n",
    "data: [DONE]",
    "\u2028",
    "\U0001f600",
    "\x00",
)
words = st.lists(st.sampled_from(_TRAPS) | st.text(max_size=5), max_size=3).map("".join)


@dataclass(frozen=True)
class Event:
    """One event: its object (None: a comment) and what the client of a reply that hides usage gets of it."""

    value: dict[str, Any] | None
    hidden: dict[str, Any] | None
    finishes: int | None = None


@dataclass(frozen=True)
class Stream:
    """A stream as bytes, event by event, and all that it says."""

    upstream: list[bytes]
    client: list[bytes]  # where usage was asked for by us; b"" for an event that is gone
    done: bool
    over_from: int  # the first event that may be the last of a stream without `[DONE]`
    said: dict[int, str]
    facts: list[Fact] = field(default_factory=list)


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1741569952, "model": "m-1"}
    choices = draw(st.integers(1, 3), label="choices")
    nulls = draw(st.booleans(), label="usage is null until it comes")
    counted = draw(st.booleans(), label="usage comes")
    first = draw(st.booleans(), label="usage comes first in a chunk")
    obfuscated = draw(st.booleans(), label="obfuscated")
    said: dict[int, str] = {}
    thoughts: dict[int, str] = {}
    uses: dict[int, list[ToolUse]] = {}
    queues: list[list[dict[str, Any]]] = []
    for index in range(choices):
        deltas, said[index], thoughts[index], uses[index] = draw(_choice(index))
        queues.append([*({"index": index, "delta": delta, "finish_reason": None} for delta in deltas)])
        queues[-1].append({"index": index, "delta": {}, "finish_reason": draw(st.sampled_from(["stop", "tool_calls"]))})

    def event(some: list[dict[str, Any]], usage: object) -> Event:
        rest: dict[str, Any] = {**frame, "choices": some}
        if obfuscated:
            rest["obfuscation"] = draw(st.text("abcXYZ019", max_size=4))
        if usage is ...:
            return Event(rest, rest)
        full = {"usage": usage, **rest} if first else {**frame, "choices": some, "usage": usage, **rest}
        return Event(full, rest if usage is None else None if not some else full)

    events: list[Event] = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        choice = queue.pop(0)
        made = event([choice], None if nulls else ...)
        events.append(replace(made, finishes=choice["index"]) if choice["finish_reason"] else made)
        if draw(st.integers(0, 9)) == 0:
            events.append(Event(None, None))
    usage = {"prompt_tokens": 30, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 10}}
    if counted:
        events.append(event([], usage))
    facts: list[Fact] = [Thought(content=text, source="reasoning") for text in _in_order(events, thoughts) if text]
    facts += _calls_in_order(events, uses)
    if counted:
        facts.append(
            TokenUsage(response_id="chatcmpl-1", input_tokens=20, output_tokens=7, cache_read_tokens=10, model="m-1")
        )
    return _written(draw, events, said, facts)


@st.composite
def _choice(draw: st.DrawFn, index: int) -> tuple[list[dict[str, Any]], str, str, list[ToolUse]]:
    """The deltas of one choice, its text, its reasoning and its calls."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    reasoning = draw(st.lists(words, max_size=2))
    said = draw(st.lists(words, max_size=5))
    nothing = draw(st.sampled_from([None, ""]))
    deltas += [{"content": nothing, "reasoning_content": piece} for piece in reasoning]
    deltas += [{"content": piece} for piece in said]
    uses: list[ToolUse] = []
    for number in range(draw(st.integers(0, 2))):
        arguments = draw(st.dictionaries(st.text(max_size=3), words, max_size=2))
        call_id, text = f"call_{index}_{number}", json.dumps(arguments)
        cut = draw(st.integers(0, len(text)))
        start = {
            "index": number,
            "id": call_id,
            "type": "function",
            "function": {"name": "look", "arguments": text[:cut]},
        }
        deltas += [
            {"tool_calls": [start]},
            {"content": nothing, "tool_calls": [{"index": number, "function": {"arguments": text[cut:]}}]},
        ]
        uses.append(ToolUse(response_id="chatcmpl-1", call_id=call_id, tool="look", input=json.loads(text)))
    return deltas, "".join(said), "".join(reasoning), uses


def _in_order(events: list[Event], thoughts: dict[int, str]) -> list[str]:
    """By the order in which the choices begin."""
    begun: dict[int, None] = {}
    for event in events:
        for choice in (event.value or {}).get("choices", ()):
            begun[choice["index"]] = None
    return [thoughts[index] for index in begun]


def _calls_in_order(events: list[Event], uses: dict[int, list[ToolUse]]) -> list[ToolUse]:
    by_id = {use.call_id: use for some in uses.values() for use in some}
    found: list[ToolUse] = []
    for event in events:
        for choice in (event.value or {}).get("choices", ()):
            found += (by_id[call["id"]] for call in choice["delta"].get("tool_calls", ()) if "id" in call)
    return found


def _written(draw: st.DrawFn, events: list[Event], said: dict[int, str], facts: list[Fact]) -> Stream:
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    newline = draw(st.sampled_from([b"\n", b"\r\n"]))
    ascii_only = draw(st.booleans())
    done = draw(st.booleans(), label="[DONE] comes")

    def block(value: dict[str, Any]) -> bytes:
        text = json.dumps(value, separators=separators, ensure_ascii=ascii_only)
        return b"data: " + text.encode() + newline * 2

    comment = b": waiting" + newline * 2
    last = max(number for number, event in enumerate(events) if event.finishes is not None)
    upstream = [comment if event.value is None else block(event.value) for event in events]
    client = [
        comment if event.value is None else b"" if event.hidden is None else block(event.hidden) for event in events
    ]
    if done:
        end = b"data: [DONE]" + newline * 2
        upstream.append(end)
        client.append(end)
    return Stream(upstream, client, done, last, said, facts)

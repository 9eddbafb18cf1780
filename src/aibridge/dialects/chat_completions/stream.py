"""The chunks of a chat stream. Only those that tell something are decoded; all are relayed as they came, but for traces.

Traces are what a provider says only because *we* asked for usage: a chunk with usage and without choices, which
disappears, and members `"usage":null`, which are cut out. Usage beside choices is no documented effect of the option
(some servers send it unasked), and clients that read `choices[0]` do not mind it: it stays.

A stream ends with `[DONE]`, or where the body ends after every choice has a finish reason. So a chunk with the last
finish reason, and all that follows it, is kept back until the end shows which it was, or until the model goes on.
By then usage has come too, for clients that hang up as soon as they see a finish reason.
Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from aibridge.dialects.base import Fact, StoredIds, Thought, Turn, TurnOutcome, Unreadable
from aibridge.dialects.chat_completions.blocking import reasoning
from aibridge.dialects.chat_completions.calls import Calls
from aibridge.dialects.chat_completions.plain_chunks import PlainChunks
from aibridge.dialects.chat_completions.usage import token_usage
from aibridge.dialects.openai_errors import describe, read_error
from aibridge.dialects.reading import Kept, decoded, mapping
from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject
from aibridge.wire.sse import parse_block

MAX_HELD = 256 * 1024
"""How much may follow the last finish reason and be kept back, in bytes. More is no end, and goes out."""


class _Chunk(msgspec.Struct):
    """What is read of a chunk, whatever it is."""

    id: Any = None
    choices: Any = None
    usage: Any = None
    error: Any = None
    service_tier: Any = None


# Where OpenAI writes it: what stands before the last brace is a member of the outermost object.
_LAST_MEMBER = re.compile(rb',"usage":null((?:,"obfuscation":"[A-Za-z0-9]*+")?\})\Z').search
_PLAIN = frozenset({"content", "role"})
_CHUNK = msgspec.json.Decoder(_Chunk)


class ChatReader:
    """See `aibridge.dialects.reply.TurnReader`."""

    __slots__ = (
        "_calls",
        "_choices",
        "_facts",
        "_held",
        "_held_size",
        "_hides_usage",
        "_kept",
        "_outcome",
        "_plain",
        "_problem",
        "_stored",
        "_tier",
        "_usage",
        "response_id",
    )

    def __init__(self, *, hides_usage: bool, stored: bool) -> None:
        self.response_id: str | None = None
        self._hides_usage = hides_usage
        self._stored = stored
        self._facts: list[Fact] = []
        self._choices: dict[int, bool] = {}  # by index: it has a finish reason
        self._held: list[bytes] = []
        self._held_size = 0
        self._plain = PlainChunks()
        self._kept = Kept()
        self._calls = Calls(self._kept)
        self._usage: dict[str, Any] | None = None
        self._tier: Any = None
        self._outcome: TurnOutcome = "cut"
        self._problem: tuple[str | None, str | None] = (None, None)

    def ended(self) -> bool:
        return self._outcome != "cut"

    def read(self, block: bytes) -> bytes:
        if not self._held and (shown := self._plain.shown(block)) is not None:
            return shown
        event = parse_block(block)
        if not event.data:
            return self._placed(block, goes_on=False)
        if event.data.startswith(b"[DONE]"):
            self._outcome = "complete"
            return block
        if event.name == b"error":
            self._outcome, self._problem = "failed", read_error(event.data)
            return block
        chunk = _decoded(event.data)
        if chunk is None:
            self._facts.append(Unreadable("an event of the stream is no JSON object"))
            return self._placed(block, goes_on=False)
        if chunk.error:
            self._outcome, self._problem = "failed", describe(chunk.error)
            return block
        goes_on = self._take(chunk)
        shown = self._without_traces(block, event.data, chunk)
        if _is_plain(chunk):
            self._plain.learn(block, shown)
        return self._placed(shown, goes_on=goes_on)

    def held(self) -> bytes:
        held, self._held, self._held_size = b"".join(self._held), [], 0
        return held

    def facts(self) -> tuple[Fact, ...]:
        if not self._facts:
            return ()
        facts, self._facts = tuple(self._facts), []
        return facts

    def end(self) -> Turn:
        outcome = self._outcome
        if outcome == "cut" and self._held:
            outcome = "complete"  # every choice is over, and nothing was missing of the last event
        for index in self._choices:
            if content := self._kept.take(("reasoning", index)):
                self._facts.append(Thought(content=content, source="reasoning"))
        self._facts += self._calls.take(self.response_id)
        if self._usage is not None:
            partial = outcome != "complete"
            self._facts.append(token_usage(self._usage, self.response_id, tier=self._tier, partial=partial))
            self._usage = None
        kind, message = self._problem
        return Turn(outcome=outcome, response_id=self.response_id, error_type=kind, error_message=message)

    def _take(self, chunk: _Chunk) -> bool:
        """Reads what a chunk tells. True: the model says something in it."""
        if self.response_id is None and isinstance(chunk.id, str) and chunk.id:
            self.response_id = chunk.id
            if self._stored:
                self._facts.append(StoredIds((chunk.id,)))
        if isinstance(chunk.usage, dict) and chunk.usage:
            self._usage = chunk.usage
        if isinstance(chunk.service_tier, str):
            self._tier = chunk.service_tier
        goes_on = False
        for choice in _choices(chunk):
            index = choice.get("index")
            index = index if isinstance(index, int) else 0
            goes_on |= self._hear(index, mapping(choice.get("delta")))
            self._choices[index] = bool(choice.get("finish_reason")) or self._choices.get(index, False)
        return goes_on

    def _hear(self, index: int, delta: dict[str, Any]) -> bool:
        thought = reasoning(delta)
        self._kept.add(("reasoning", index), thought)
        called = self._calls.add(index, delta)
        return bool(thought or called or delta.get("content") or delta.get("refusal"))

    def _placed(self, shown: bytes, *, goes_on: bool) -> bytes:
        """What goes out now: all, or what was kept back before, or nothing, when this may be the end."""
        over = bool(self._choices) and all(self._choices.values())
        not_the_end = goes_on or not over or self._held_size > MAX_HELD
        released = self.held() if self._held and not_the_end else b""
        if not over:
            return released + shown
        self._held.append(shown)
        self._held_size += len(shown)
        return released

    def _without_traces(self, block: bytes, data: bytes, chunk: _Chunk) -> bytes:
        if not self._hides_usage or b'"usage"' not in data:
            return block
        if chunk.usage is not None:
            return block if chunk.choices else b""
        # A chunk in several data lines is not found: it cannot be cut without writing it anew, and nobody sends any.
        return block.replace(data, _without_null_usage(data))


def _decoded(data: bytes) -> _Chunk | None:
    try:
        return _CHUNK.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    # Servers cut emoji in two, and worse.
    found = decoded(data)
    return msgspec.convert(found, _Chunk) if isinstance(found, dict) else None


def _without_null_usage(data: bytes) -> bytes:
    if (found := _LAST_MEMBER(data)) is not None:
        return data[: found.start()] + found[1]
    try:
        return JsonObject.parse(data, ("usage",)).without("usage")
    except (NotAnObject, DoubledMember):
        return data


def _choices(chunk: _Chunk) -> list[dict[str, Any]]:
    found = chunk.choices
    return [choice for choice in found if isinstance(choice, dict)] if isinstance(found, list) else []


def _is_plain(chunk: _Chunk) -> bool:
    """Nothing but a piece of text can differ in a chunk that otherwise looks the same."""
    if chunk.usage is not None or not isinstance(chunk.choices, list) or len(chunk.choices) != 1:
        return False
    choice = mapping(chunk.choices[0])
    delta = mapping(choice.get("delta"))
    return not choice.get("finish_reason") and not any(delta[name] for name in delta if name not in _PLAIN)

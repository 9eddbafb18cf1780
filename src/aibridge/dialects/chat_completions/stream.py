"""The chunks of a chat stream. Only those that tell something are decoded; all are relayed as they came, but for traces.

Traces are what a provider says only because *we* asked for usage: a chunk with usage and without choices, which
disappears, and members `"usage":null`, which are cut out. Usage beside choices is no documented effect of the option
(some servers send it unasked), and clients that read `choices[0]` do not mind it: it stays.
Source: https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from aibridge.dialects.base import Fact, Plain, Turn
from aibridge.dialects.chat_completions.chunks import Chunk, decoded_chunk, is_plain, without_traces
from aibridge.dialects.chat_completions.ending import PossibleEnd
from aibridge.dialects.chat_completions.facts import TurnFacts
from aibridge.dialects.chat_completions.plain_chunks import PlainChunks
from aibridge.dialects.openai_errors import describe, read_error
from aibridge.wire.sse import is_one_event, parse_block


class ChatReader:
    """See `aibridge.dialects.reply.TurnReader`."""

    __slots__ = ("_end", "_facts", "_held", "_hides_usage", "_plain")

    def __init__(self, *, hides_usage: bool, stored: bool) -> None:
        self._hides_usage = hides_usage
        self._facts = TurnFacts(stored=stored)
        self._end = PossibleEnd()
        self._held = self._end.held
        self._plain = PlainChunks()

    @property
    def response_id(self) -> str | None:
        return self._facts.response_id

    def ended(self) -> bool:
        return self._facts.outcome != "cut"

    @property
    def plain(self) -> Plain:
        return self._passes

    def _passes(self, chunk: bytes) -> bool:
        return not self._held and is_one_event(chunk) and self._plain.shown(chunk) is chunk

    def read(self, block: bytes) -> bytes:
        if not self._held and (shown := self._plain.shown(block)) is not None:
            return shown
        facts, event = self._facts, parse_block(block)
        if not event.data:
            return self._end.placed(block, goes_on=False, over=facts.over)
        if event.data.startswith(b"[DONE]"):
            facts.outcome = "complete"
            return block
        if event.name == b"error":
            facts.failed(read_error(event.data))
            return block
        chunk = decoded_chunk(event.data)
        if chunk is None:
            facts.unreadable()
            return self._end.placed(block, goes_on=False, over=facts.over)
        if chunk.error:
            facts.failed(describe(chunk.error))
            return block
        goes_on = facts.take(chunk)
        shown = self._without_traces(block, event.data, chunk)
        if is_plain(chunk):
            self._plain.learn(block, shown)
        return self._end.placed(shown, goes_on=goes_on, over=facts.over)

    def held(self) -> bytes:
        return self._end.released()

    def facts(self) -> tuple[Fact, ...]:
        return self._facts.taken()

    def end(self) -> Turn:
        facts = self._facts
        if facts.outcome == "cut" and self._held:
            facts.outcome = "complete"  # every choice is over, and nothing was missing of the last event
        facts.end()
        kind, message = facts.problem
        return Turn(outcome=facts.outcome, response_id=facts.response_id, error_type=kind, error_message=message)

    def _without_traces(self, block: bytes, data: bytes, chunk: Chunk) -> bytes:
        if not self._hides_usage:
            return block
        # A chunk in several data lines is not found: it cannot be cut without writing it anew, and nobody sends any.
        left = without_traces(data, chunk)
        return block if left is data else block.replace(data, left) if left else b""

"""Replies for all dialects: what is relayed and what is withheld. What an event says is the reader's business.

A dialect writes a `TurnReader` (events of a stream) and a function that reads a whole body; the two classes here
keep the promises of `Reply`: whole events only, the terminal one and all that follows it withheld.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aibridge.dialects.base import Fact, Turn, Unreadable
from aibridge.errors import Problem
from aibridge.wire.sse import EventSplitter, Fragment

MAX_WHOLE_BODY = 32 * 1024 * 1024
"""The largest blocking answer that is kept for reading, in bytes. A larger one passes unread as it arrives."""


class TurnReader(Protocol):
    """Reads the events of one turn."""

    def ended(self) -> bool:
        """The terminal event, or an error event that ends the stream, has been read."""

    @property
    def response_id(self) -> str | None: ...

    def read(self, block: bytes) -> bytes:
        """Reads one SSE block; returns what the client gets in its place (nearly always the block itself)."""

    def facts(self) -> tuple[Fact, ...]:
        """What was learned since the last call."""

    def end(self) -> Turn:
        """There will be no more events. Completes the facts."""


class StreamedReply:
    """A reply relayed event by event."""

    __slots__ = ("_error_event", "_reader", "_splitter", "_withheld")

    def __init__(self, reader: TurnReader, error_event: Callable[[Problem], bytes]) -> None:
        self._reader = reader
        self._error_event = error_event
        self._splitter = EventSplitter()
        self._withheld: list[bytes] = []

    @property
    def finished(self) -> bool:
        return self._reader.ended()

    @property
    def response_id(self) -> str | None:
        return self._reader.response_id

    def receive(self, chunk: bytes) -> bytes:
        reader = self._reader
        if reader.ended():
            self._withheld.append(chunk)
            return b""
        blocks = self._splitter.split(chunk)
        for number, block in enumerate(blocks):
            if type(block) is Fragment:
                continue
            blocks[number] = reader.read(block)
            if reader.ended():
                self._withheld = [*blocks[number:], self._splitter.rest()[0]]
                del blocks[number:]
                break
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def facts(self) -> tuple[Fact, ...]:
        return self._reader.facts()

    def end_turn(self) -> Turn:
        if not self._reader.ended():
            # A last event without the empty line counts when it is the terminal one; any other is a fragment.
            rest, _ = self._splitter.rest()
            if rest:
                shown = self._reader.read(rest)
                if self._reader.ended():
                    self._withheld.append(shown)
        return self._reader.end()

    def finish(self) -> bytes:
        withheld, self._withheld = b"".join(self._withheld), []
        return withheld

    def fail(self, problem: Problem) -> bytes:
        self._withheld = []
        return self._error_event(problem)


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """What a blocking body says."""

    turn: Turn
    facts: tuple[Fact, ...] = ()


class WholeReply:
    """A reply that comes in one body: withheld until it has been read, then given out as it came."""

    __slots__ = ("_facts", "_kept", "_passing", "_read", "_response_id", "_size")

    def __init__(self, read: Callable[[bytes], WholeAnswer]) -> None:
        self._read = read
        self._kept: list[bytes] = []
        self._size = 0
        self._passing = False
        self._facts: tuple[Fact, ...] = ()
        self._response_id: str | None = None

    @property
    def finished(self) -> bool:
        return False  # only the end of the body ends it

    @property
    def response_id(self) -> str | None:
        return self._response_id

    def receive(self, chunk: bytes) -> bytes:
        if self._passing:
            return chunk
        self._kept.append(chunk)
        self._size += len(chunk)
        if self._size <= MAX_WHOLE_BODY:
            return b""
        self._passing = True
        return self.finish()

    def facts(self) -> tuple[Fact, ...]:
        facts, self._facts = self._facts, ()
        return facts

    def end_turn(self) -> Turn:
        if self._passing:
            self._facts = (Unreadable(f"answer larger than {MAX_WHOLE_BODY} bytes"),)
            return Turn(outcome="complete")
        body = b"".join(self._kept)
        self._kept = [body]
        answer = self._read(body)
        self._facts = answer.facts
        self._response_id = answer.turn.response_id
        return answer.turn

    def finish(self) -> bytes:
        kept, self._kept = b"".join(self._kept), []
        return kept

    def fail(self, _problem: Problem) -> bytes:
        self._kept = []
        return b""

"""Replies for all dialects: what is relayed and what is withheld. What an event says is the reader's business.

A dialect writes a `TurnReader` (events of a stream) and a function that reads a whole body; the two classes here
keep the promises of `Reply`: whole events only, the terminal one and all that follows it withheld.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from aibridge.dialects.base import Fact, Plain, Turn, Unreadable
from aibridge.dialects.reading import decoded
from aibridge.errors import Problem
from aibridge.wire.sse import MAX_EVENT, EventSplitter, Fragment, parse_block

MAX_WHOLE_BODY = 32 * 1024 * 1024
"""The largest blocking answer that is kept for reading, in bytes. A larger one passes unread as it arrives."""


class TurnReader(Protocol):
    """Reads the events of one turn."""

    def ended(self) -> bool:
        """The terminal event, or an error event that ends the stream, has been read."""

    @property
    def response_id(self) -> str | None: ...

    @property
    def plain(self) -> Plain | None:
        """See `aibridge.dialects.base.Reply`; asked only between events."""

    def read(self, block: bytes) -> bytes:
        """Reads one SSE block; returns what the client gets in its place (nearly always the block itself).

        A block that may be the last is kept back: it comes with a later one, or out of `held`.
        """

    def held(self) -> bytes:
        """What was kept back, which is forgotten: something follows it, or it goes out now. Mostly b""."""

    def facts(self) -> tuple[Fact, ...]:
        """What was learned since the last call."""

    def end(self) -> Turn:
        """There will be no more events. Completes the facts."""


class StreamedReply:
    """A reply relayed event by event."""

    __slots__ = (
        "_error_event", "_kept_back", "_passes_unread", "_reader", "_splitter", "_turn", "_unread", "_withheld", "finished",
    )  # fmt: skip

    def __init__(
        self,
        reader: TurnReader,
        error_event: Callable[[Problem], bytes],
        *,
        largest_event: int = MAX_EVENT,
        passes_unread: bool = True,
    ) -> None:
        """`passes_unread`: an event that is too large to be read is relayed; else the turn is cut there."""
        self.finished = False
        self._passes_unread = passes_unread
        self._reader = reader
        self._error_event = error_event
        self._splitter = EventSplitter(largest_event)
        self._kept_back = b""  # whole events that may be the end, once the body is over
        self._withheld: list[bytes] = []
        self._turn: Turn | None = None
        self._unread: tuple[Fact, ...] = ()

    @property
    def response_id(self) -> str | None:
        return self._reader.response_id

    @property
    def plain(self) -> Plain | None:
        splitter = self._splitter
        return None if self.finished or splitter.held or splitter.torn else self._reader.plain

    def receive(self, chunk: bytes) -> bytes:
        if self.finished:
            self._withheld.append(chunk)
            return b""
        reader = self._reader
        blocks = self._splitter.split(chunk)
        for number, block in enumerate(blocks):
            if type(block) is Fragment:
                self._unread = (Unreadable("an event of the stream is too large to be read"),)
                if not self._passes_unread:
                    self.finished = True
                    blocks[number:] = [reader.held()]
                    break
                blocks[number] = reader.held() + block
                continue
            blocks[number] = reader.read(block)
            if reader.ended():
                self.finished = True
                self._withheld = [*blocks[number:], self._splitter.rest()]
                blocks[number:] = [reader.held()]
                break
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def facts(self) -> tuple[Fact, ...]:
        if self._turn is None or not self._unread:
            return self._reader.facts()
        unread, self._unread = self._unread, ()
        return self._reader.facts() + unread

    def end_turn(self) -> Turn:
        if self._turn is None:
            reader, rest = self._reader, b"" if self.finished else self._splitter.rest()
            if rest:
                # What was kept back is not the end: something follows it.
                self._kept_back = reader.held()
                # A last event without its empty line counts if it is whole. What is not was cut, which is no fault
                # of the provider's JSON, and nothing that a client could read.
                if not self._splitter.torn and _is_whole(rest):
                    self._withheld.append(reader.read(rest))
                    self.finished = reader.ended()
            self._turn = reader.end()
            if rest:
                self._withheld.append(reader.held())
            else:
                self._kept_back = reader.held()
        return self._turn

    def finish(self) -> bytes:
        withheld, self._kept_back, self._withheld = b"".join((self._kept_back, *self._withheld)), b"", []
        return withheld

    def fail(self, problem: Problem) -> bytes:
        # Whole events that were kept back in case that they are the last: the error is now. A terminal event is
        # not given out with an error, nor is one without its empty line, which the error would become a part of.
        # Nor is the end of a turn that was not to be the last one.
        ended = self.finished or (self._turn is not None and self._turn.calls)
        kept_back = b"" if ended else self._kept_back
        self._kept_back, self._withheld = b"", []
        # An event of which the client has the beginning must end, or the error would be part of it.
        torn = self._splitter.torn and self._passes_unread
        return (b"\n\n" if torn else kept_back) + self._error_event(problem)


def _is_whole(rest: bytes) -> bool:
    """Whether what follows the last empty line is a whole event (a part of a JSON object is no JSON), or no event."""
    data = parse_block(rest).data
    if data is None:
        return all(line.startswith(b":") for line in rest.splitlines() if line)
    return data.startswith(b"[DONE]") or decoded(data) is not None


class WholeAnswer(msgspec.Struct, frozen=True):
    """What a blocking body says."""

    turn: Turn
    facts: tuple[Fact, ...] = ()
    shown: bytes | None = None
    """What the client gets in place of the body."""


class WholeReply:
    """A reply that comes in one body: withheld until it has been read, then given out as it came."""

    __slots__ = ("_facts", "_kept", "_largest", "_passing", "_read", "_size", "_turn")

    def __init__(self, read: Callable[[bytes], WholeAnswer], *, largest: int = MAX_WHOLE_BODY) -> None:
        self._read = read
        self._largest = largest
        self._kept: list[bytes] = []
        self._size = 0
        self._passing = False
        self._facts: tuple[Fact, ...] = ()
        self._turn: Turn | None = None

    @property
    def finished(self) -> bool:
        return False  # only the end of the body ends it

    @property
    def response_id(self) -> str | None:
        return self._turn.response_id if self._turn is not None else None

    @property
    def plain(self) -> None:
        return None

    def receive(self, chunk: bytes) -> bytes:
        if self._passing:
            return chunk
        self._kept.append(chunk)
        self._size += len(chunk)
        if self._size <= self._largest:
            return b""
        self._passing = True
        return self.finish()

    def facts(self) -> tuple[Fact, ...]:
        facts, self._facts = self._facts, ()
        return facts

    def end_turn(self) -> Turn:
        if self._turn is not None:
            return self._turn
        if self._passing:
            answer = WholeAnswer(Turn(outcome="complete"), (Unreadable("the answer is too large to be read"),))
        else:
            body = b"".join(self._kept)
            self._kept = [body]
            answer = self._read(body)
            if answer.shown is not None:
                self._kept = [answer.shown]
        self._facts = answer.facts
        self._turn = answer.turn
        return answer.turn

    def finish(self) -> bytes:
        kept, self._kept = b"".join(self._kept), []
        return kept

    def fail(self, _problem: Problem) -> bytes:
        self._kept = []
        return b""

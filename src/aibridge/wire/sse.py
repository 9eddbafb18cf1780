"""Server-sent events on bytes. The raw bytes of every event survive; chunk boundaries change nothing.

The rules are those of the WHATWG HTML standard, section 9.2.6: lines end with CRLF, LF or CR; an empty line ends
an event; a leading byte order mark is ignored; one space after the colon is dropped; several `data` lines are
joined with a newline; a line that starts with a colon is a comment.

`EventSplitter` cuts a byte stream into *blocks*: everything up to and with the empty line that ends an event.
A block is relayed as it is; `parse_block` reads it when somebody needs to know what it says.
"""

from __future__ import annotations

import re

import msgspec

MAX_EVENT = 16 * 1024 * 1024
"""The largest event that is kept for reading, in bytes. A larger one passes unread, as `Fragment`s."""

_BOM = b"\xef\xbb\xbf"
# Two line ends in a row. A CR counts as one only when the next byte is known not to be LF: at the end of what has
# come it may be the first half of a CRLF, and guessing would make the cut depend on the chunks.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?=[^\n]))")
# The shape of nearly every event: at most a name, one line of data.
_USUAL = re.compile(rb"(?:event: ([^\r\n]*+)\r?\n)?data: ([^\r\n]*+)\r?\n\r?\n")
# The most that can be the beginning of a blank line: CR LF CR, before the LF has come.
_LONGEST_TAIL = 3


class Fragment(bytes):
    """An event that is too large to be kept, or a piece of one: relayed in its place, never read."""

    __slots__ = ()


class Event(msgspec.Struct, frozen=True):
    """What one block says. `name` is None without an `event` field, `data` is None without a `data` field."""

    name: bytes | None
    data: bytes | None


class EventSplitter:
    """Cuts a stream into blocks, whatever the chunks. What it returns, joined, is what came in."""

    __slots__ = ("_held", "_limit", "_scanned", "torn")

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self.torn = False
        """The beginning of the current event, too large to be held, has been given out."""
        self._held = bytearray()
        self._scanned = 0  # how much of _held is known to hold no end of a block
        self._limit = max(limit, _LONGEST_TAIL)

    def split(self, chunk: bytes) -> list[bytes]:
        """The blocks that `chunk` completes, in order, each with the empty line that ends it."""
        if self._held:
            self._held += chunk
            return self._cut(self._held)
        if is_one_event(chunk) and len(chunk) <= self._limit:
            return [chunk]
        return self._cut(chunk)

    def _cut(self, data: bytes | bytearray) -> list[bytes]:
        # Nearly every provider writes LF only. A CR before what is still to be scanned no longer matters.
        end_of_block = _after_two_lf if data.find(b"\r", self._scanned) < 0 else _after_blank_line
        blocks: list[bytes] = []
        start = 0
        while (end := end_of_block(data, max(start, self._scanned))) >= 0:
            block = bytes(memoryview(data)[start:end])
            blocks.append(Fragment(block) if self.torn or end - start > self._limit else block)
            self.torn = False
            start = end
            self._scanned = 0
        if data is self._held:
            del self._held[:start]
        else:
            self._held += memoryview(data)[start:]
        if len(self._held) > self._limit:
            cut = len(self._held) - _LONGEST_TAIL
            blocks.append(Fragment(self._held[:cut]))
            del self._held[:cut]
            self.torn = True
        self._scanned = max(0, len(self._held) - _LONGEST_TAIL)
        return blocks

    @property
    def held(self) -> int:
        """How many bytes wait for the end of their event."""
        return len(self._held)

    def rest(self) -> bytes:
        """At the end of the stream: what is held, an event without its empty line or the last of a torn one."""
        rest = bytes(self._held)
        self._held.clear()
        self._scanned = 0
        return rest


def is_one_event(chunk: bytes) -> bool:
    """Whether it is one whole block, and nothing else: what a chunk usually is. A CR makes it say no."""
    return chunk.find(b"\n\n") == len(chunk) - 2 >= 0 and b"\r" not in chunk


def parse_block(block: bytes) -> Event:
    """The event in a block. Fields other than `event` and `data` are left to whom the block is relayed."""
    if (usual := _USUAL.fullmatch(block)) is not None:
        return Event(usual[1], usual[2])
    name: bytes | None = None
    data: list[bytes] = []
    for line in block.removeprefix(_BOM).splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    return Event(name, b"\n".join(data) if data else None)


def event_block(data: bytes, name: bytes | None = None) -> bytes:
    """One event of ours. `data` must be a single line."""
    return b"data: " + data + b"\n\n" if name is None else b"event: " + name + b"\ndata: " + data + b"\n\n"


def _after_two_lf(data: bytes | bytearray, start: int) -> int:
    """Where the first block that ends after `start` ends, in text without CR; -1 when none does."""
    end = data.find(b"\n\n", start)
    return end + 2 if end >= 0 else -1


def _after_blank_line(data: bytes | bytearray, start: int) -> int:
    """The same with any line ends."""
    found = _BLANK_LINE.search(data, start)
    return found.end() if found else -1

"""Server-sent events on bytes. The raw bytes of every event survive; chunk boundaries change nothing.

The rules are those of the WHATWG HTML standard, section 9.2.6: lines end with CRLF, LF or CR; an empty line ends
an event; a leading byte order mark is ignored; one space after the colon is dropped; several `data` lines are
joined with a newline; a line that starts with a colon is a comment.

`EventSplitter` cuts a byte stream into *blocks*: everything up to and with the empty line that ends an event.
A block is relayed as it is; `parse_block` reads it when somebody needs to know what it says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_EVENT = 16 * 1024 * 1024
"""The largest event that is kept for reading, in bytes. A larger one passes unread, as `Fragment`s."""

_BOM = b"\xef\xbb\xbf"
# Two line ends in a row. A CR counts as one only when the next byte is known not to be LF: at the end of what has
# come it may be the first half of a CRLF, and guessing would make the cut depend on the chunks.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?=[^\n]))")
_BLANK_LINE_AT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)\Z")


class Fragment(bytes):
    """A piece of an event that is too large to be kept: relayed in its place, never read."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Event:
    """What one block says. `name` is None without an `event` field, `data` is None without a `data` field."""

    name: bytes | None
    data: bytes | None


class EventSplitter:
    """Cuts a stream into blocks, whatever the chunks. What it returns, joined, is what came in."""

    __slots__ = ("_held", "_limit", "_oversized", "_scanned")

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._held = bytearray()
        self._scanned = 0  # how much of _held is known to hold no end of a block
        self._oversized = False  # the beginning of the current event has been given out
        self._limit = limit

    def split(self, chunk: bytes) -> list[bytes]:
        """The blocks that `chunk` completes, in order, each with the empty line that ends it."""
        data: bytes | bytearray = chunk
        if self._held:
            self._held += chunk
            data = self._held
        blocks: list[bytes] = []
        start = 0
        while (end := _end_of_block(data, max(start, self._scanned))) >= 0:
            block = _copied(data, start, end)
            blocks.append(Fragment(block) if self._oversized else block)
            self._oversized = False
            start = end
            self._scanned = 0
        self._keep(data, start)
        if len(self._held) > self._limit:
            # The last bytes may be the beginning of an end (CRLFCRLF is the longest).
            cut = len(self._held) - 3
            blocks.append(Fragment(self._held[:cut]))
            del self._held[:cut]
            self._oversized = True
        self._scanned = max(0, len(self._held) - 3)
        return blocks

    def _keep(self, data: bytes | bytearray, start: int) -> None:
        if data is self._held:
            del self._held[:start]
        elif start < len(data):
            self._held += data[start:]

    @property
    def held(self) -> int:
        """How many bytes wait for the end of their event."""
        return len(self._held)

    def rest(self) -> tuple[bytes, bool]:
        """At the end of the stream: what is held, and whether it is a whole block after all (CR line ends)."""
        rest = bytes(self._held)
        whole = not self._oversized and _BLANK_LINE_AT_END.search(rest) is not None
        self._held.clear()
        self._scanned = 0
        return rest, whole


def parse_block(block: bytes) -> Event:
    """The event in a block. Fields other than `event` and `data` are left to whom the block is relayed."""
    name: bytes | None = None
    data: bytes | None = None
    if block.startswith(_BOM):
        block = block[3:]
    for line in block.splitlines():
        field, colon, value = line.partition(b":")
        if colon and value[:1] == b" ":
            value = value[1:]
        if field == b"data":
            data = value if data is None else data + b"\n" + value
        elif field == b"event":
            name = value
    return Event(name, data)


def event_block(data: bytes, name: bytes | None = None) -> bytes:
    """One event of ours. `data` must be a single line."""
    return b"data: " + data + b"\n\n" if name is None else b"event: " + name + b"\ndata: " + data + b"\n\n"


def _end_of_block(data: bytes | bytearray, start: int) -> int:
    """Where the first block that ends at or after `start` ends; -1 when none does."""
    if data.find(b"\r", start) < 0:  # nearly every provider writes LF only
        end = data.find(b"\n\n", start)
        return end + 2 if end >= 0 else -1
    found = _BLANK_LINE.search(data, start)
    return found.end() if found else -1


def _copied(data: bytes | bytearray, start: int, end: int) -> bytes:
    if start == 0 and end == len(data) and isinstance(data, bytes):
        return data
    return bytes(memoryview(data)[start:end])

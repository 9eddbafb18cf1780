"""Server-sent events read the plain and slow way, line by line: what the quick parser is compared with."""

from __future__ import annotations

import re
from collections.abc import Iterator


def lines_of(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each line as (content, line end); the end is b"" for a last line that has none."""
    start = 0
    for found in re.finditer(rb"\r\n|\n|\r", stream):
        yield stream[start : found.start()], found.group()
        start = found.end()
    if start < len(stream):
        yield stream[start:], b""


def blocks_of(stream: bytes) -> list[bytes]:
    """The stream cut after every empty line that follows another line; the last piece may be unfinished."""
    blocks = [b""]
    fresh = True
    for line, end in lines_of(stream):
        blocks[-1] += line + end
        if not line and not fresh:
            blocks.append(b"")
            fresh = True
        else:
            fresh = False
    return blocks if blocks[-1] else blocks[:-1]


def events_of(stream: bytes) -> list[tuple[bytes | None, bytes]]:
    """The events that a client dispatches, as (name, data): WHATWG HTML, section 9.2.6, word by word."""
    found: list[tuple[bytes | None, bytes]] = []
    name: bytes | None = None
    data: bytes | None = None
    for line, end in lines_of(stream.removeprefix(b"\xef\xbb\xbf")):
        if not end:
            break
        if not line:
            if data is not None:
                found.append((name, data[:-1]))
            name = data = None
        elif line.startswith(b":"):
            continue
        else:
            field, value = line.split(b":", 1) if b":" in line else (line, b"")
            if value.startswith(b" "):
                value = value[1:]
            if field == b"event":
                name = value
            elif field == b"data":
                data = (b"" if data is None else data) + value + b"\n"
    return found

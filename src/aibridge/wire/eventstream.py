"""AWS's binary event stream: frames with headers and a payload. Chunk boundaries change nothing; damage is never passed.

A frame (big endian): total length, length of the headers, CRC-32 of those eight bytes; headers; payload; CRC-32 of all
before it. A header: length of the name, name, type, value. The lengths are believed only after their own checksum.

Source: https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html ("Event stream encoding") and the
specification of Smithy (https://smithy.io/2.0/aws/amazon-eventstream.html).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MAX_HEADERS = 128 * 1024
"""The most that a frame's headers may take, in bytes: the limit of AWS's own SDKs."""
MAX_PAYLOAD = 24 * 1024 * 1024
"""The largest payload, in bytes: the same."""

HeaderValue = bool | int | str | bytes
"""A timestamp is its milliseconds since 1970, a UUID its 16 bytes."""

_PRELUDE = struct.Struct(">III")
_CHECKSUM = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_LEAST = _PRELUDE.size + _CHECKSUM.size  # a frame without headers and payload
_INTEGERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q")}
_TIMESTAMP = _INTEGERS[5]
_TRUE, _FALSE, _BYTES, _STRING, _TIME, _UUID = 0, 1, 6, 7, 8, 9


class EventStreamBroken(ValueError):
    """The bytes are no event stream, or were damaged on the way. The message holds nothing of them."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of the stream."""

    headers: Mapping[str, HeaderValue]
    payload: bytes = field(repr=False)

    def text(self, name: str) -> str:
        """A header that is text; "" where it is missing or of another type."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class FrameDecoder:
    """Cuts a body into frames. What it holds is bounded by the largest frame."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = bytearray()

    def receive(self, chunk: bytes) -> Iterator[Frame]:
        """The frames that `chunk` completes, in order; to be taken to the end before the next chunk.

        Raises: EventStreamBroken, at the place of the damage: the stream cannot be read beyond it.
        """
        held = self._held
        held += chunk
        start = 0
        try:
            while len(held) - start >= _PRELUDE.size:
                size = _checked_size(held, start)
                if len(held) - start < size:
                    break
                whole = bytes(memoryview(held)[start : start + size])
                yield _frame(whole)
                start += size
        finally:
            del held[:start]

    @property
    def held(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._held)


def _checked_size(held: bytearray, start: int) -> int:
    """The length of the frame that begins at `start`. Raises: EventStreamBroken."""
    size, headers, checksum = _PRELUDE.unpack_from(held, start)
    if zlib.crc32(memoryview(held)[start : start + 8]) != checksum:
        raise EventStreamBroken("the head of a frame does not match its checksum")
    if size < _LEAST + headers:
        raise EventStreamBroken("the lengths of a frame contradict each other")
    if headers > MAX_HEADERS or size - headers - _LEAST > MAX_PAYLOAD:
        raise EventStreamBroken("a frame is larger than the format allows")
    return int(size)


def _frame(data: bytes) -> Frame:
    """A whole frame. Raises: EventStreamBroken."""
    end = len(data) - _CHECKSUM.size
    if zlib.crc32(memoryview(data)[:end]) != _CHECKSUM.unpack_from(data, end)[0]:
        raise EventStreamBroken("a frame does not match its checksum")
    payload = _PRELUDE.size + _PRELUDE.unpack_from(data)[1]
    try:
        return Frame(_headers(data[_PRELUDE.size : payload]), data[payload:end])
    except (struct.error, UnicodeDecodeError, IndexError):
        raise EventStreamBroken("the headers of a frame cannot be read") from None


def _headers(data: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    at = 0
    while at < len(data):
        named = at + 1 + data[at]
        name = _taken(data, at + 1, named).decode("utf-8")
        value, at = _value(data, named)
        if name in headers:
            raise EventStreamBroken("a header of a frame stands twice")
        headers[name] = value
    return headers


def _value(data: bytes, at: int) -> tuple[HeaderValue, int]:
    """The value whose type stands at `at`, and where it ends."""
    kind = data[at]
    at += 1
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if (number := _TIMESTAMP if kind == _TIME else _INTEGERS.get(kind)) is not None:
        return int(number.unpack_from(data, at)[0]), at + number.size
    if kind == _UUID:
        return _taken(data, at, at + 16), at + 16
    if kind not in (_BYTES, _STRING):
        raise EventStreamBroken("a header of a frame has an unknown type")
    start = at + _LENGTH.size
    end = start + int(_LENGTH.unpack_from(data, at)[0])
    raw = _taken(data, start, end)
    return (raw.decode("utf-8") if kind == _STRING else raw), end


def _taken(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        raise EventStreamBroken("a header of a frame is longer than all headers")
    return data[start:end]

"""Fuzz target: the decoder of AWS's event stream, whatever the bytes and the chunks.

`check` is the whole of it; atheris feeds it (see README.md), pytest feeds it in `tests/fuzz`.
"""

from __future__ import annotations

import struct
import zlib

from aibridge.wire.eventstream import EventStreamBroken, Frame, FrameDecoder


def check(data: bytes) -> None:
    """Three bytes say how the rest is framed and cut into chunks: as it is, or with lengths and checksums that are right.

    Raises: AssertionError when chunks make a difference, or a frame that is right is not given out as it is.
    """
    if len(data) < 3:
        return
    size, stream = data[0] % 16 + 1, data[3:]
    if data[1] < 128:
        headers = stream[: data[1]]
        payload = stream[len(headers) :]
        stream = _framed(headers, payload)
        frames, broken = _told([stream])
        assert broken or [frame.payload for frame in frames] == [payload]
    whole = _told([stream])
    assert _told([stream[at : at + size] for at in range(0, len(stream), size)]) == whole


def _framed(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    message = prelude + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _told(chunks: list[bytes]) -> tuple[list[Frame], bool]:
    decoder = FrameDecoder()
    frames: list[Frame] = []
    try:
        for chunk in chunks:
            frames.extend(decoder.receive(chunk))
    except EventStreamBroken:
        return frames, True
    return frames, False

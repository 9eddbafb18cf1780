"""The decoder of AWS's event stream against botocore's own: the same frames, whatever the chunks; damage is refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import example, given
from hypothesis import strategies as st

from aibridge.wire.eventstream import MAX_HEADERS, MAX_PAYLOAD, EventStreamBroken, Frame, FrameDecoder
from tests.strategies.chunks import chunkings
from tests.strategies.frames import frame, frames


@st.composite
def chunked_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    stream = b"".join(draw(st.lists(frames, max_size=4)))
    return stream, draw(chunkings(stream))


def decoded(chunks: Iterable[bytes]) -> list[Frame]:
    decoder = FrameDecoder()
    return [found for chunk in chunks for found in decoder.receive(chunk)]


def by_botocore(stream: bytes) -> list[tuple[dict[str, object], bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    return [(found.headers, found.payload) for found in buffer]


@given(chunked_streams())
def test_frames_are_those_of_botocore_whatever_the_chunks(chunked: tuple[bytes, list[bytes]]) -> None:
    stream, chunks = chunked

    assert [(dict(found.headers), found.payload) for found in decoded(chunks)] == by_botocore(stream)


def test_every_type_of_header_is_read() -> None:
    sent = frame(
        {
            "yes": True,
            "no": False,
            "byte": (2, -1),
            "short": (3, -2),
            "integer": -3,
            "long": (5, -(2**40)),
            "bytes": b"\x00\xff",
            "text": "wörter",
            "time": datetime(2026, 11, 21, tzinfo=UTC),
            "uuid": UUID(int=7),
        },
        b"payload",
    )
    (found,) = decoded([sent])

    assert found.headers == {
        "yes": True,
        "no": False,
        "byte": -1,
        "short": -2,
        "integer": -3,
        "long": -(2**40),
        "bytes": b"\x00\xff",
        "text": "wörter",
        "time": 1795219200000,
        "uuid": UUID(int=7).bytes,
    }
    assert found.text("text") == "wörter"
    assert found.text("bytes") == found.text("missing") == ""


@given(st.lists(frames, min_size=1, max_size=3), st.data())
@example([frame({":event-type": "chunk"}, b"x")], None)
def test_a_flipped_bit_is_found_before_its_frame_is_given_out(sent: list[bytes], data: st.DataObject | None) -> None:
    stream = b"".join(sent)
    position = data.draw(st.integers(0, len(stream) * 8 - 1)) if data is not None else 8 * (len(stream) - 1)
    damaged = bytearray(stream)
    damaged[position // 8] ^= 1 << position % 8
    untouched = 0
    while sum(map(len, sent[: untouched + 1])) <= position // 8:
        untouched += 1

    decoder = FrameDecoder()
    found: list[Frame] = []
    with pytest.raises(EventStreamBroken):  # noqa: PT012  which byte shows it is the decoder's to say
        for byte in damaged:
            found += decoder.receive(bytes([byte]))
    assert [(dict(one.headers), one.payload) for one in found] == by_botocore(b"".join(sent[:untouched]))


@given(frames, st.data())
def test_a_frame_that_is_not_whole_is_waited_for(sent: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(sent) - 1))
    decoder = FrameDecoder()

    assert list(decoder.receive(sent[:cut])) == []
    assert decoder.held == cut
    assert len(list(decoder.receive(sent[cut:]))) == 1
    assert decoder.held == 0


@pytest.mark.parametrize(
    ("size", "headers"),
    [
        (16 + MAX_PAYLOAD + 1, 0),
        (16 + MAX_HEADERS + 1, MAX_HEADERS + 1),
        (2**32 - 1, 0),
        (15, 0),
        (0, 0),
        (20, 5),
    ],
)
def test_lengths_that_cannot_be_are_refused_before_anything_is_waited_for(size: int, headers: int) -> None:
    prelude = struct.pack(">II", size, headers)

    with pytest.raises(EventStreamBroken):
        list(FrameDecoder().receive(prelude + struct.pack(">I", zlib.crc32(prelude))))


@pytest.mark.parametrize(
    "headers",
    [
        b"\x05ab",  # a name beyond the headers
        b"\x02\xff\xfe\x00",  # a name that is no text
        b"\x01a",  # no type
        b"\x01a\x0a",  # an unknown type
        b"\x01a\x07\x00\x05xy",  # a value beyond the headers
        b"\x01a\x07\x00",  # half a length
        b"\x01a\x04\x00",  # half an integer
        b"\x01a\x09\x00",  # half a UUID
        b"\x01a\x07\x00\x01\xff",  # a text that is none
        b"\x01a\x00\x01a\x01",  # twice the same name
    ],
)
def test_headers_that_cannot_be_read_are_refused(headers: bytes) -> None:
    prelude = struct.pack(">II", 16 + len(headers), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers

    with pytest.raises(EventStreamBroken):
        list(FrameDecoder().receive(message + struct.pack(">I", zlib.crc32(message))))


def test_a_long_stream_in_one_chunk_is_cut_in_one_go() -> None:
    one = frame({":event-type": "chunk", ":message-type": "event"}, b"x" * 1000)

    assert len(decoded([one * 5000])) == 5000

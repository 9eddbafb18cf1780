"""The SSE splitter and parser against a plain one: any line ends, any chunks, any size."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from aibridge.wire.sse import EventSplitter, Fragment, event_block, parse_block
from tests.strategies.chunks import chunkings
from tests.wire.plain_sse import blocks_of, events_of

_BOM = b"\xef\xbb\xbf"
_PIECES = [
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r", b"\r\r\n"),
    *(b"data", b"data:", b"data: ", b"data:  x", b"data: x", b"data: {}", b"event: a", b"event:b", b"event", b"id: 1"),
    *(
        b":",
        b": comment",
        b" ",
        b"x",
        b"dat",
        b"a: data: x",
        "data: é€😀".encode(),
        _BOM,
        b"\xff",
        b"\x00",
        b"\x0b\x0c",
    ),
]
streams = st.one_of(st.lists(st.sampled_from(_PIECES), max_size=30).map(b"".join), st.binary(max_size=40))


@st.composite
def chunked_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    stream = draw(streams)
    return stream, draw(chunkings(stream))


def _split(chunks: list[bytes], limit: int = 10**6) -> list[bytes]:
    """The blocks, with what was held at the end as the last."""
    splitter = EventSplitter(limit)
    blocks = [block for chunk in chunks for block in splitter.split(chunk)]
    rest = splitter.rest()
    return [*blocks, rest] if rest else blocks


@given(chunked_streams())
@example((b"data: x\r\n\r\n", [b"data: x\r", b"\n\r", b"\n"]))
@example((b"data: x\r\r\ndata: y\n\n", [b"data: x\r", b"\r", b"\ndata: y\n\n"]))
def test_blocks_are_those_of_a_plain_parser_whatever_the_chunks(chunked: tuple[bytes, list[bytes]]) -> None:
    stream, chunks = chunked

    assert _split(chunks) == blocks_of(stream)


@given(streams)
def test_events_are_those_of_the_standard(stream: bytes) -> None:
    assume(_BOM not in stream[1:])
    blocks = blocks_of(stream)
    if blocks and blocks_of(stream + b"x")[-1] != b"x":
        blocks.pop()  # unfinished: no client dispatches it

    events = [parse_block(block) for block in blocks]

    assert [(event.name, event.data) for event in events if event.data is not None] == events_of(stream)


@given(chunked_streams(), st.integers(0, 30))
@example((b"data: x\n\n", [b"data: x\n\n"]), 8)
@example((b"data: x\n\n", [b"data: x", b"\n\n"]), 8)
@example((b"data: x\n\n", [b"data: x\n", b"\n"]), 9)
def test_too_large_events_are_the_same_ones_whatever_the_chunks(chunked: tuple[bytes, list[bytes]], limit: int) -> None:
    stream, chunks = chunked
    splitter = EventSplitter(limit)
    blocks: list[bytes] = []
    for chunk in chunks:
        blocks += splitter.split(chunk)
        assert splitter.held <= max(limit, 3)
    torn = splitter.torn
    rest = splitter.rest()

    assert b"".join(blocks) + rest == stream
    whole = [block for block in blocks if not isinstance(block, Fragment)] + ([] if torn else [rest] * bool(rest))
    assert whole == [block for block in blocks_of(stream) if len(block) <= max(limit, 3)]


def test_every_byte_alone_is_as_good_as_all_at_once() -> None:
    stream = ": hi\r\n\r\nevent: a\rdata: é\r\rdata:1\ndata:2\n\n\n\ndata: 😀\r\n\r\n".encode()

    blocks = _split([stream[at : at + 1] for at in range(len(stream))])

    assert blocks == _split([stream])
    assert [parse_block(block).data for block in blocks if parse_block(block).data is not None] == [
        "é".encode(),
        b"1\n2",
        "😀".encode(),
    ]


def test_an_event_with_crlf_is_given_out_without_waiting_for_the_next() -> None:
    splitter = EventSplitter()

    assert splitter.split(b"data: x\r\n\r\n") == [b"data: x\r\n\r\n"]
    assert splitter.held == 0


def test_memory_stays_bounded_while_a_large_event_passes() -> None:
    splitter = EventSplitter(1000)
    chunk = b"x" * 700

    passed = [block for _ in range(100) for block in splitter.split(chunk)]

    assert splitter.held <= 1000
    assert splitter.torn
    assert all(isinstance(block, Fragment) for block in passed)
    blocks = splitter.split(b"\n\ndata: small\n\n")
    assert [type(block) for block in blocks] == [Fragment, bytes]
    assert blocks[1] == b"data: small\n\n"
    assert not splitter.torn


def test_many_events_in_one_chunk_take_time_in_proportion() -> None:
    # Counted in bytes that are looked at, not in seconds: a chunk that is scanned again for each of its events
    # would be asked for a CR once per event.
    class Counting(bytes):
        looks = 0

        def find(self, *args: object) -> int:
            Counting.looks += args[0] == b"\r"
            return super().find(*args)  # type: ignore[arg-type]  # passed through as it came

    EventSplitter().split(Counting(b"data: x\n\n" * 1000))

    assert Counting.looks <= 1


def test_a_large_event_in_many_chunks_takes_time_in_proportion() -> None:
    splitter = EventSplitter()
    chunk = b"x" * 4096

    before = time.process_time()
    for _ in range(2000):
        splitter.split(chunk)
    taken = time.process_time() - before

    # About 0.02 s; scanned from its beginning for each chunk, the event would take several seconds.
    assert taken < 1.0
    assert splitter.held == 2000 * 4096


@pytest.mark.parametrize(
    ("block", "name", "data"),
    [
        (b"data: x\n\n", None, b"x"),
        (b"data:x\n\n", None, b"x"),
        (b"data:  x\n\n", None, b" x"),
        (b"event: a\ndata: x\n\n", b"a", b"x"),
        (b"data: x\nevent: a\n\n", b"a", b"x"),
        (b"event: a\nevent: b\ndata: x\n\n", b"b", b"x"),
        (b"event:\ndata: x\n\n", b"", b"x"),
        (b"data: x\ndata:\ndata: y\n\n", None, b"x\n\ny"),
        (b"data\n\n", None, b""),
        (b"\ndata: x\n\n", None, b"x"),
        (b"id: 7\nretry: 3\n: c\n\n", None, None),
        (b" data: x\n\n", None, None),
        (b"DATA: x\n\n", None, None),
        (_BOM + b"data: x\n\n", None, b"x"),
        (b"data: x", None, b"x"),
        (b"data: a\x85b\xe2\x80\xa8c\x0bd\n\n", None, b"a\x85b\xe2\x80\xa8c\x0bd"),
        (b"", None, None),
    ],
)
def test_a_block_is_read_by_the_rules(block: bytes, name: bytes | None, data: bytes | None) -> None:
    event = parse_block(block)

    assert (event.name, event.data) == (name, data)


@given(st.binary().filter(lambda data: b"\n" not in data and b"\r" not in data), st.sampled_from([None, b"error"]))
def test_an_event_of_ours_is_read_back(data: bytes, name: bytes | None) -> None:
    block = event_block(data, name)

    event = parse_block(block)

    assert (event.name, event.data) == (name, data)
    assert EventSplitter().split(block) == [block]

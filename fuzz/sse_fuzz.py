"""Fuzz target: the SSE splitter and parser, and the Messages reply above them, against the plain parser of the tests.

`check` is the whole of it; atheris feeds it (see README.md), pytest feeds it in `tests/fuzz`.
"""

from __future__ import annotations

from aibridge.dialects.messages import MESSAGES
from aibridge.wire.sse import EventSplitter, Fragment, parse_block
from tests.wire.plain_sse import blocks_of, events_of

_REQUEST = MESSAGES.parse(b'{"model":"m","stream":true}')
_BOM = b"\xef\xbb\xbf"


# What a byte stands for in streams that are written in pieces: random bytes hardly ever make an event.
_PIECES = (
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"data:", b"data: ", b"event: ", b":", b" ", b"x", b"data", b"error", _BOM),
    *(b'{"type":"message_stop"}', b'{"type":"error"}', b'"index":0', b'{"type":"content_block_', b'delta"', b",", b"}"),
    *(b'start"', b'stop"', b'"content_block":{"type":"thinking"}', b'"delta":{"thinking":"a"}', b'"usage":{}'),
)


def check(data: bytes) -> None:
    """Two bytes say how the rest is written and cut into chunks, and what is too large to be read.

    Raises: AssertionError when the quick way and the plain way differ, or when chunks make a difference.
    """
    if len(data) < 2:
        return
    size, limit, stream = data[0] % 16 + 1, data[1] % 64 + 3, data[2:]
    if data[1] >= 128:
        stream = b"".join(_PIECES[byte % len(_PIECES)] for byte in stream)
    chunks = [stream[at : at + size] for at in range(0, len(stream), size)]
    _check_blocks(stream, chunks)
    _check_large_events(stream, chunks, limit)
    _check_reply(stream, chunks)


def _check_blocks(stream: bytes, chunks: list[bytes]) -> None:
    splitter = EventSplitter()
    blocks = [block for chunk in chunks for block in splitter.split(chunk)]
    rest = splitter.rest()
    expected = blocks_of(stream)
    assert ([*blocks, rest] if rest else blocks) == expected
    if _BOM in stream[1:]:
        return  # the standard ignores one at the start only; we before every event
    # CR at the very end is a whole line end, but we wait for an LF that may follow.
    if rest and not (rest.endswith(b"\r") and blocks_of(stream + b"x")[-1] == b"x"):
        expected = expected[:-1]
    events = [parse_block(block) for block in expected]
    assert [(event.name, event.data) for event in events if event.data is not None] == events_of(stream)


def _check_large_events(stream: bytes, chunks: list[bytes], limit: int) -> None:
    splitter = EventSplitter(limit)
    blocks = []
    for chunk in chunks:
        blocks += splitter.split(chunk)
        assert splitter.held <= limit
    torn, rest = splitter.torn, splitter.rest()
    assert b"".join(blocks) + rest == stream
    whole = [block for block in blocks if not isinstance(block, Fragment)] + ([] if torn or not rest else [rest])
    assert whole == [block for block in blocks_of(stream) if len(block) <= limit]


def _check_reply(stream: bytes, chunks: list[bytes]) -> None:
    whole, cut = _told([stream]), _told(chunks)
    assert cut == whole
    received, finished, outcome = whole[0], whole[1], whole[2]
    assert stream.startswith(received)
    assert outcome == "cut" or received + finished == stream


def _told(chunks: list[bytes]) -> tuple[bytes, bytes, str, list[object]]:
    reply = _REQUEST.reply(stream=True)
    facts: list[object] = []
    received = b""
    for chunk in chunks:
        received += reply.receive(chunk)
        facts += reply.facts()
    turn = reply.end_turn()
    return received, reply.finish(), turn.outcome, [*facts, *reply.facts()]

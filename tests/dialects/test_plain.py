"""What goes past `receive` because it is plain: the client gets the same, and the record says the same."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.base import Dialect, Fact, Reply, Turn
from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.dialects.messages import MESSAGES
from aibridge.dialects.messages.looping import LoopingReader
from aibridge.dialects.reply import StreamedReply
from aibridge.dialects.responses import RESPONSES
from aibridge.errors import Problem
from aibridge.wire import sse
from tests.dialects.chat_completions.streams import streams
from tests.dialects.responses.events import outputs, response, stream_of
from tests.dialects.responses.odd import odd_blocks
from tests.strategies.chunks import chunkings
from tests.strategies.messages_streams import messages_streams

_PROBLEM = Problem(502, "broke off")
_REQUESTS = (
    (MESSAGES, b'{"model":"m","max_tokens":1,"stream":true,"messages":[]}'),
    (CHAT_COMPLETIONS, b'{"model":"m","stream":true,"messages":[]}'),
    (CHAT_COMPLETIONS, b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}'),
    (RESPONSES, b'{"model":"m","stream":true,"input":"x"}'),
)
_MESSAGES = messages_streams().map(lambda stream: list(stream.events))
_CHAT = streams().map(lambda stream: stream.upstream)
_RESPONSES = st.tuples(outputs, st.integers(1, 9)).map(lambda of: stream_of(response(of[0]), pieces=of[1]))
_ANY = st.one_of(_MESSAGES, _CHAT, _RESPONSES, st.lists(odd_blocks, max_size=8))

Seen = tuple[bytes, list[Fact], bool, Turn, bytes]


def _reply(dialect: Dialect, request: bytes) -> Reply:
    parsed = dialect.parse(request)
    return (parsed.asking_usage() if b"include_usage" not in request else parsed).reply(stream=True)


def _run(reply: Reply, chunks: Iterable[bytes], *, past: bool, fails: bool) -> Seen:
    given_out, facts = b"", list[Fact]()
    for chunk in chunks:
        plain = reply.plain if past else None
        given_out += chunk if plain is not None and plain(chunk) else reply.receive(chunk)
        facts += reply.facts()
    turn = reply.end_turn()
    facts += reply.facts()
    return given_out, facts, reply.finished, turn, reply.fail(_PROBLEM) if fails else reply.finish()


@given(st.sampled_from(_REQUESTS), _ANY, st.booleans(), st.data())
def test_what_goes_past_the_machine_would_have_come_out_of_it_unchanged(
    asked: tuple[Dialect, bytes], events: list[bytes], fails: bool, data: st.DataObject
) -> None:
    sent = b"".join(events)
    chunks = data.draw(st.sampled_from((events, [sent])) | chunkings(sent), label="chunks")

    past = _run(_reply(*asked), chunks, past=True, fails=fails)

    assert past == _run(_reply(*asked), chunks, past=False, fails=fails)


_TEXT_OF_MESSAGES = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"word"}}\n\n'
)
_TEXT_OF_CHAT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"word"},"finish_reason":null}]}\n\n'
)
_TEXT_OF_RESPONSES = (
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":5,'
    b'"item_id":"msg_1","output_index":0,"content_index":0,"delta":"word"}\n\n'
)


@pytest.mark.parametrize(
    ("dialect", "request_body", "event"),
    [
        (MESSAGES, _REQUESTS[0][1], _TEXT_OF_MESSAGES),
        (CHAT_COMPLETIONS, _REQUESTS[2][1], _TEXT_OF_CHAT),
        (RESPONSES, _REQUESTS[3][1], _TEXT_OF_RESPONSES),
    ],
)
def test_the_text_of_a_stream_needs_no_machine(dialect: Dialect, request_body: bytes, event: bytes) -> None:
    reply = dialect.parse(request_body).reply(stream=True)
    reply.receive(event)  # chat has to see how its provider writes

    assert _is_plain(reply, event)
    reply.receive(event[:20])
    assert not _is_plain(reply, event[20:]), "in the midst of an event"
    reply.receive(event[20:])
    assert _is_plain(reply, event)


def _is_plain(reply: Reply, chunk: bytes) -> bool:
    return reply.plain is not None and bool(reply.plain(chunk))


@pytest.mark.parametrize(
    "rest", [b'x"}}, broken\n\n', b'x"},"index":1}\n\n', b'x","text":"y"}}\n\n', b'x\\"}}\n\n', b'x"}}\n: more\n\n']
)
def test_where_turns_follow_each_other_only_text_to_the_last_byte_passes(rest: bytes) -> None:
    reader = LoopingReader(lambda turn, _said: turn, lambda _usage, _known: None, shown=0, first=True)
    reply = StreamedReply(reader, lambda problem: problem.message.encode())
    start = b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
    reply.receive(sse.event_block(start, b"content_block_start"))

    assert _is_plain(reply, _TEXT_OF_MESSAGES)
    assert not _is_plain(reply, _TEXT_OF_MESSAGES.replace(b'word"}}\n\n', rest))

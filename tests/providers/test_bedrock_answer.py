"""Bedrock's answers as Anthropic's clients get them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.lib.bedrock._stream_decoder import AWSEventStreamDecoder
from hypothesis import given
from hypothesis import strategies as st

from aibridge.providers.bedrock_answer import bedrock_answer
from tests.exchanges import MESSAGES
from tests.fakes.bedrock import EVENT_STREAM, REQUEST_ID, chunk, chunks, error, exception
from tests.strategies.chunks import chunkings
from tests.strategies.frames import frame

STREAM = b"".join(chunks(MESSAGES.events))


def streamed(*pieces: bytes) -> bytes:
    piece = bedrock_answer(200, [EVENT_STREAM]).piece
    assert piece is not None
    return b"".join(map(piece, pieces))


def told(status: int, kind: str | None, body: bytes) -> tuple[int, dict[str, Any]]:
    headers = [REQUEST_ID] if kind is None else [REQUEST_ID, (b"x-amzn-ErrorType", kind.encode())]
    incoming = bedrock_answer(status, headers)
    assert incoming.whole is not None
    return incoming.status, json.loads(incoming.whole(body))


# -- streams -------------------------------------------------------------------------------------------


@given(chunkings(STREAM))
def test_frames_become_the_events_that_anthropic_would_send(pieces: list[bytes]) -> None:
    assert streamed(*pieces) == MESSAGES.stream


_words = st.text(st.characters(codec="utf-8"), max_size=20)
_events = st.dictionaries(_words, st.one_of(_words, st.integers(), st.booleans()), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["ping", "message_delta"]), _events, st.booleans()), max_size=4))
def test_events_are_those_that_the_sdk_reads(said: list[tuple[str, dict[str, Any], bool]]) -> None:
    events = [
        json.dumps({"type": kind, **rest} if first else {**rest, "type": kind}, indent=1 if first else None).encode()
        for kind, rest, first in said
    ]
    stream = b"".join(map(chunk, events))
    read = [(event.event, json.loads(event.data)) for event in AWSEventStreamDecoder().iter_bytes(iter([stream]))]

    blocks = streamed(stream).split(b"\n\n")[:-1]
    assert len(blocks) == len(read)
    for block, (name, data) in zip(blocks, read, strict=True):
        first, _, second = block.partition(b"\n")
        assert first == f"event: {name}".encode()
        assert json.loads(second.removeprefix(b"data: ")) == data


def test_the_metrics_in_the_last_event_stay() -> None:
    last = b'{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":9}}'

    assert streamed(chunk(last)) == b"event: message_stop\ndata: " + last + b"\n\n"


def test_what_is_no_event_of_the_models_is_left_out() -> None:
    other = frame({":event-type": "initial-response", ":message-type": "event"}, b"{}")

    assert streamed(other + chunk(b'{"type":"ping"}')) == b'event: ping\ndata: {"type":"ping"}\n\n'


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("throttlingException", "rate_limit_error"),
        ("serviceUnavailableException", "overloaded_error"),
        ("modelTimeoutException", "timeout_error"),
        ("validationException", "invalid_request_error"),
        ("internalServerException", "api_error"),
        ("modelStreamErrorException", "api_error"),
        ("someNewException", "api_error"),
    ],
)
def test_an_exception_in_the_stream_is_an_error_event(kind: str, named: str) -> None:
    event = streamed(chunk(b'{"type":"ping"}') + exception(kind, message="Too many tokens")).split(b"\n\n")[1]

    shown = {"type": "error", "error": {"type": named, "message": "Too many tokens"}}
    assert event.startswith(b"event: error\ndata: ")
    assert json.loads(event.partition(b"data: ")[2]) == shown


def test_errors_without_words_have_a_name_at_least() -> None:
    said = streamed(exception("modelStreamErrorException", originalMessage="inner"), error("Oops", ""), error("", ""))

    messages = [json.loads(event.partition(b"data: ")[2])["error"]["message"] for event in said.split(b"\n\n")[:-1]]
    assert messages == ["inner", "Bedrock reports Oops", "Bedrock reports an error without saying which"]


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"{}", b'{"bytes":7}', b'{"bytes":"*"}', b'{"bytes":"e30"}', b'{"bytes":"\xff"}'],
)
def test_an_event_that_cannot_be_read_ends_the_stream_with_an_error(payload: bytes) -> None:
    good = chunk(b'{"type":"ping"}')
    first, error, end = streamed(good + frame({":event-type": "chunk", ":message-type": "event"}, payload), good).split(
        b"\n\n"
    )

    assert first == b'event: ping\ndata: {"type":"ping"}'
    assert error.startswith(b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"the provider')
    assert end == b""


@given(st.integers(0, len(STREAM) * 8 - 1), st.data())
def test_of_a_damaged_stream_the_whole_events_before_the_damage_arrive_and_an_error(
    bit: int, data: st.DataObject
) -> None:
    damaged = bytearray(STREAM)
    damaged[bit // 8] ^= 1 << bit % 8
    said = streamed(*data.draw(chunkings(bytes(damaged))))

    events, mark, error = said.partition(b'event: error\ndata: {"type":"error","error":{"type":"api_error"')
    count = next(number for number in range(99) if len(b"".join(chunks(MESSAGES.events)[: number + 1])) > bit // 8)
    assert events == b"".join(MESSAGES.events[:count])
    assert mark
    assert b"damaged" in error
    assert error.endswith(b"\n\n")


def test_a_chunk_that_is_no_event_goes_on_without_a_name() -> None:
    assert streamed(chunk(b"{}"), chunk(b"text")) == b"data: {}\n\ndata: text\n\n"


def test_the_head_says_what_the_body_is_now() -> None:
    headers = [EVENT_STREAM, (b"content-length", b"7"), REQUEST_ID, (b"x-amzn-bedrock-content-type", b"a")]

    assert bedrock_answer(200, headers).headers == [
        REQUEST_ID,
        headers[3],
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"request-id", REQUEST_ID[1]),
    ]


def test_a_whole_answer_passes_as_it_is() -> None:
    headers = [(b"Content-Type", b"application/json"), (b"content-length", b"7")]
    incoming = bedrock_answer(200, headers)

    assert (incoming.status, incoming.headers, incoming.piece, incoming.whole) == (200, headers, None, None)


# -- errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "told_status", "named"),
    [
        (400, "ValidationException", 400, "invalid_request_error"),
        (400, "ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/", 400, "invalid_request_error"),
        (404, "com.amazon.coral#ResourceNotFoundException", 404, "not_found_error"),
        (429, "ThrottlingException", 429, "rate_limit_error"),
        (400, "ServiceQuotaExceededException", 429, "rate_limit_error"),
        (429, "ModelNotReadyException", 503, "overloaded_error"),
        (503, "ServiceUnavailableException", 503, "overloaded_error"),
        (408, "ModelTimeoutException", 504, "timeout_error"),
        (424, "ModelErrorException", 500, "api_error"),
        (500, "InternalServerException", 500, "api_error"),
        (408, None, 504, "timeout_error"),
        (424, None, 500, "api_error"),
        (418, None, 418, "invalid_request_error"),
    ],
)
def test_an_error_has_anthropics_status_type_and_shape(status: int, kind: str, told_status: int, named: str) -> None:
    shown, body = told(status, kind, b'{"message":"The provided model identifier is invalid."}')

    assert shown == told_status
    assert body == {
        "type": "error",
        "error": {"type": named, "message": "The provided model identifier is invalid."},
        "request_id": REQUEST_ID[1].decode(),
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, "AccessDeniedException"), (403, "InvalidSignatureException"), (401, None), (403, "ExpiredTokenException")],
)
def test_a_refusal_of_our_key_is_no_refusal_of_the_clients(status: int, kind: str | None) -> None:
    text = "You don't have access to the model.\nThe Canonical String should have been\n'secret'"
    shown, body = told(status, kind, json.dumps({"message": text}).encode())

    assert shown == 502
    assert body["error"]["type"] == "api_error"
    assert body["error"]["message"].endswith("own credential: You don't have access to the model.")
    assert (b"x-should-retry", b"false") in bedrock_answer(status, []).headers


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[1]", b'{"message":7}'])
def test_an_error_that_says_nothing_has_the_shape_all_the_same(body: bytes) -> None:
    assert (
        told(500, "InternalServerException", body)[1]["error"]["message"] == "Bedrock reports InternalServerException"
    )
    assert told(500, None, body)[1]["error"]["type"] == "api_error"


def test_an_error_in_the_dialect_passes_as_it_is() -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"x"}, "request_id":"req_1"}'
    incoming = bedrock_answer(400, [])

    assert incoming.whole is not None
    assert incoming.whole(body) == body

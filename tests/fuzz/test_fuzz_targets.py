"""The fuzz targets, without the fuzzer: a fixed corpus, the stories, and bytes that hypothesis draws."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz import eventstream_fuzz, json_body_fuzz, sse_fuzz
from tests.strategies.json_texts import objects
from tests.strategies.messages_streams import MessagesStream, messages_streams
from tests.transcripts.stories import DIALECTS, stories

_STREAMS = [
    b"",
    b"x",
    b"\x00\x00data: 1\r\n\r\ndata: 2\r\rdata: 3\n\n",
    b"\x00\x00\r\r\n\n\r\n\r",
    b"\x02\x00data: a\r\rx",
    b"\x01\x05data: 123456789\n\ndata: 1\n\n",
    b"\x00\x00\xef\xbb\xbfdata: x\n\n\xef\xbb\xbfdata: y\n\n",
    b'\x03\x00data: {"type":"message_stop"}\n\nmore',
    b'\x03\x00event: error\ndata: {"type":"message_stop"}\n\n',
    b"\x03\x00event: error\ndata: gone\n\n",
    b'\x00\x00data: {"type":"message_stop"}\r\r',
]
_OBJECTS = [
    b"",
    b"{}",
    b" { } ",
    b'{"a":1,"a":1}',
    b'{"a":12,"a":1}',
    b'{"model":"x","b":{"model":1},"new":"\\ud83d"}',
    b'{"\\u0061":1,"a":2,"\xc3\xa9":3}',
    b'{"a":"\xff"}',
    b'{"a":[1,2,{"b":"}"}]  ,"model" : 1.0e5 }',
    b'{"a":' + b"[" * 5000,
    b'{"a":1e999,"b":' + b"7" * 5000 + b"}",
    b'{"\\ud800":1,"\\ud801":2}',
    b'{"a":NaN}',
]


@pytest.mark.parametrize("data", _STREAMS)
def test_the_stream_target_finds_nothing_in_its_corpus(data: bytes) -> None:
    sse_fuzz.check(data)


def test_the_stream_target_finds_nothing_in_the_stories() -> None:
    told = [story.upstream for dialect in DIALECTS.values() for story in stories(dialect.name) if story.stream]

    for number, stream in enumerate(told):
        sse_fuzz.check(bytes((number % 16, number % 64)) + stream)


@given(st.binary(max_size=200) | st.binary(max_size=40).map(lambda choices: b"\x03\xff" + choices))
def test_the_stream_target_finds_nothing_in_random_bytes(data: bytes) -> None:
    sse_fuzz.check(data)


@given(st.binary(min_size=2, max_size=2), messages_streams())
def test_the_stream_target_finds_nothing_in_streams(how: bytes, stream: MessagesStream) -> None:
    sse_fuzz.check(how + stream.text)


@pytest.mark.parametrize("data", _OBJECTS)
def test_the_object_target_finds_nothing_in_its_corpus(data: bytes) -> None:
    json_body_fuzz.check_text(data)


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda choices: b"\xff" + choices))
def test_the_object_target_finds_nothing_in_random_choices(data: bytes) -> None:
    json_body_fuzz.check(data)


@given(objects)
def test_the_object_target_finds_nothing_in_objects(text: str) -> None:
    json_body_fuzz.check_text(text.encode())


@given(st.binary(max_size=80))
@example(b"\x00\x0b\x00" + b"\x01a\x07\x00\x06wanted" + b"payload")
@example(b"\x03\x05\x00" + b"\x02\xff\xfe\x00\x00payload")
def test_the_frame_target_finds_nothing_in_random_bytes(data: bytes) -> None:
    eventstream_fuzz.check(data)


def test_the_frame_target_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventstream_fuzz, "_framed", lambda headers, payload: b"")

    with pytest.raises(AssertionError):
        eventstream_fuzz.check(b"\x00\x00\x00payload")


@pytest.mark.parametrize("target", [sse_fuzz, json_body_fuzz], ids=["sse", "json_body"])
def test_a_target_can_fail(target: object, monkeypatch: pytest.MonkeyPatch) -> None:
    check: Callable[[bytes], None]
    if target is sse_fuzz:
        monkeypatch.setattr(sse_fuzz, "blocks_of", lambda stream: [stream])
        check, data = sse_fuzz.check, b"\x00\x00data: 1\n\ndata: 2\n\n"
    else:
        monkeypatch.setattr(json_body_fuzz, "is_object", lambda text: False)
        check, data = json_body_fuzz.check_text, b'{"a":1}'

    with pytest.raises(AssertionError):
        check(data)

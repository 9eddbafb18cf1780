"""The hot path takes nothing for plain that tells something, whatever the text in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.chat_completions.plain_chunks import PlainChunks
from tests.dialects.chat_completions.streams import words

_FRAME = b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":%s},"finish_reason":%s}],"usage":%s%s}\n\n'
_FIRST = _FRAME % (b'"a"', b"null", b"null", b"")
_CUT = _FIRST.replace(b',"usage":null', b"")


def _learned(*chunks: bytes) -> PlainChunks:
    plain = PlainChunks()
    for chunk in chunks or (_FIRST,):
        plain.learn(chunk, chunk)
    return plain


def _obfuscated(noise: bytes) -> bytes:
    return _FRAME % (b'"a"', b"null", b"null", b',"obfuscation":"' + noise + b'"')


@given(words)
def test_a_chunk_that_differs_only_in_its_text_is_shown_like_the_one_that_was_read(text: str) -> None:
    plain = PlainChunks()
    plain.learn(_FIRST, _CUT)

    quoted = json.dumps(text).encode()
    assert plain.shown(_FRAME % (quoted, b"null", b"null", b"")) == _CUT.replace(b'"a"', quoted)


@pytest.mark.parametrize(
    "chunk",
    [
        _FRAME % (b'"b"', b'"stop"', b"null", b""),
        _FRAME % (b'"b"', b"null", b'{"prompt_tokens":1}', b""),
        _FRAME % (b'"b"', b"null", b"null", b',"error":{"message":"x"}'),
        _FRAME % (b'"b","tool_calls":[{"index":0}]', b"null", b"null", b""),
        _FRAME % (b"null", b"null", b"null", b""),
        _FRAME % (b'["b"]', b"null", b"null", b""),
        _FRAME % (b'"b', b"null", b"null", b""),
        _FRAME % (b'"b\n"', b"null", b"null", b""),
        _FRAME % (b'"b\\x"', b"null", b"null", b""),
        _FRAME % (b'"b\\u12"', b"null", b"null", b""),
        (_FRAME % (b'"b"', b"null", b"null", b"")).replace(b'"index":0', b'"index":1'),
        (_FRAME % (b'"b"', b"null", b"null", b"")).replace(b'"c1"', b'"c2"'),
        (_FRAME % (b'"b"', b"null", b"null", b"")).replace(b"data: ", b"event: error\ndata: "),
        (_FRAME % (b'"b"', b"null", b"null", b"")).replace(b"\n\n", b'\ndata: {"usage":1}\n\n'),
        b"data: [DONE]\n\n",
        b": comment\n\n",
        b"\n",
        b"",
    ],
)
def test_a_chunk_that_differs_elsewhere_has_to_be_read(chunk: bytes) -> None:
    assert _learned().shown(chunk) is None


def test_nothing_is_plain_before_something_was_read() -> None:
    assert PlainChunks().shown(_FIRST) is None


@pytest.mark.parametrize("noise", [b"", b"x", b"aZ09" * 20])
def test_obfuscation_may_be_anything_random(noise: bytes) -> None:
    assert _learned(_obfuscated(b"abc")).shown(_obfuscated(noise)) == _obfuscated(noise)


@pytest.mark.parametrize("noise", [b'x","error":"y', b"\\n", b"x y", b'x"},{"'])
def test_what_is_no_obfuscation_is_read(noise: bytes) -> None:
    assert _learned(_obfuscated(b"abc")).shown(_obfuscated(noise)) is None


def test_the_chunk_with_obfuscation_does_not_teach_about_the_one_without() -> None:
    assert _learned(_obfuscated(b"abc")).shown(_FIRST) is None
    assert _learned(_FIRST).shown(_obfuscated(b"abc")) is None


def test_servers_that_number_their_chunks_do_not_fill_the_memory() -> None:
    plain = PlainChunks()
    for number in range(1000):
        chunk = _FIRST.replace(b"c1", b"c%d" % number)
        plain.learn(chunk, chunk)
        assert plain.shown(chunk) == chunk
    large = _FIRST.replace(b"c1", b"c" * 10_000)
    plain.learn(large, large)

    assert len(plain._known) <= 32
    assert plain.shown(large) is None


@given(st.data())
def test_a_chunk_is_plain_only_if_reading_it_says_the_same_but_for_the_text(data: st.DataObject) -> None:
    """Chunks are made of the first one by changing bytes anywhere; those still taken for plain are read in full."""
    changed = bytearray(_FIRST)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(changed)))
        end = data.draw(st.integers(start, min(len(changed), start + 3)))
        changed[start:end] = data.draw(st.sampled_from([b'"', b"\\", b"a", b",", b"\n", b'"content":', b"\xc3\xa9"]))
    if _learned().shown(bytes(changed)) is None:
        return

    assert _without_text(bytes(changed)) == _without_text(_FIRST)


def _without_text(chunk: bytes) -> Any:
    value = json.loads(chunk.removeprefix(b"data: "))
    assert isinstance(value["choices"][0]["delta"].pop("content"), str)
    return value

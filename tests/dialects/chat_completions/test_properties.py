"""The invariants, for any well-formed chat stream, any chunks and any cut."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.base import Fact, Reply, TokenUsage, Turn
from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.errors import Problem
from tests.dialects.chat_completions.streams import Stream, streams

_ASKED = b'{"model":"m-1","stream":true,"stream_options":{"include_usage":true},"messages":[]}'
_NOT_ASKED = b'{"model":"m-1","stream":true,"messages":[]}'


@given(streams())
def test_a_client_that_asked_for_usage_gets_the_providers_bytes(stream: Stream) -> None:
    seen = _run(_ASKED, stream.upstream)

    assert seen.received + seen.finished == b"".join(stream.upstream)
    assert list(seen.facts) == stream.facts
    assert seen.turn == Turn(outcome="complete", response_id="chatcmpl-1")


@given(streams())
def test_a_client_that_did_not_ask_gets_them_without_our_traces(stream: Stream) -> None:
    seen = _run(_NOT_ASKED, stream.upstream)

    assert seen.received + seen.finished == b"".join(stream.client)
    assert list(seen.facts) == stream.facts


@given(streams(), st.booleans(), st.data())
def test_chunk_boundaries_change_nothing(stream: Stream, asked: bool, data: st.DataObject) -> None:
    request, upstream = _ASKED if asked else _NOT_ASKED, b"".join(stream.upstream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(upstream)), max_size=20), label="cuts"))
    chunks = [upstream[start:end] for start, end in itertools.pairwise([0, *cuts, len(upstream)])]

    assert _run(request, chunks) == _run(request, [upstream])


@given(streams(), st.booleans())
def test_nothing_that_may_be_the_end_goes_out_before_it_is_known(stream: Stream, asked: bool) -> None:
    client = stream.upstream if asked else stream.client
    seen = _run(_ASKED if asked else _NOT_ASKED, stream.upstream)

    withheld_from = len(client) - 1 if stream.done else stream.over_from
    assert seen.received == b"".join(client[:withheld_from])
    assert seen.finished == b"".join(client[withheld_from:])


@given(streams(), st.booleans())
def test_every_event_before_the_last_finish_reason_goes_out_at_once(stream: Stream, asked: bool) -> None:
    client = stream.upstream if asked else stream.client
    reply = _reply(_ASKED if asked else _NOT_ASKED)
    lag = 0
    for number in range(stream.over_from):
        received = reply.receive(stream.upstream[number])
        # Only when every choice that has begun is over may an event wait for the next one.
        lag = 0 if received.endswith(client[number]) else lag + 1
        assert lag == 0 or _may_be_the_end(stream.upstream[: number + 1])


@given(streams(), st.booleans())
def test_the_client_sees_one_whole_answer(stream: Stream, asked: bool) -> None:
    seen = _run(_ASKED if asked else _NOT_ASKED, stream.upstream)

    said: dict[int, str] = {}
    finished: list[int] = []
    chunks = _chunks(seen.received + seen.finished)
    for chunk in chunks:
        assert asked or chunk["choices"]
        assert asked or "usage" not in chunk
        for choice in chunk["choices"]:
            assert choice["index"] not in finished
            said[choice["index"]] = said.get(choice["index"], "") + (choice["delta"].get("content") or "")
            finished += [choice["index"]] if choice["finish_reason"] else []
    assert said == stream.said
    assert sorted(finished) == sorted(said)
    assert (seen.received + seen.finished).count(b"\ndata: [DONE]") == (1 if stream.done else 0)


@given(streams(), st.booleans(), st.data())
def test_a_stream_cut_anywhere_is_known_as_cut_unless_its_end_was_whole(
    stream: Stream, asked: bool, data: st.DataObject
) -> None:
    upstream, client = b"".join(stream.upstream), b"".join(stream.client if not asked else stream.upstream)
    cut = data.draw(st.integers(0, len(upstream)), label="cut")
    reply = _reply(_ASKED if asked else _NOT_ASKED)
    received = reply.receive(upstream[:cut])
    turn = reply.end_turn()

    if turn.outcome == "cut":
        assert all(fact.partial for fact in reply.facts() if isinstance(fact, TokenUsage))
    else:
        assert turn.outcome == "complete"
        assert b"[DONE]" in upstream[:cut] or _may_be_the_end(_blocks(upstream[:cut]))
    told = received + reply.fail(Problem(502, "cut"))
    events, error = told[: told.rindex(b"data: ")], told[told.rindex(b"data: ") :]
    assert client.startswith(events)
    assert not events or events.endswith((b"\n\n", b"\r\n\r\n"))
    assert json.loads(error[6:])["error"]["message"] == "cut"


@dataclass(frozen=True)
class _Seen:
    received: bytes
    finished: bytes
    facts: tuple[Fact, ...]
    turn: Turn


def _reply(request: bytes) -> Reply:
    return CHAT_COMPLETIONS.parse(request).asking_usage().reply(stream=True)


def _run(request: bytes, chunks: Iterable[bytes]) -> _Seen:
    reply = _reply(request)
    received = b"".join([reply.receive(chunk) for chunk in chunks])
    turn = reply.end_turn()
    return _Seen(received, reply.finish(), reply.facts(), turn)


def _blocks(text: bytes) -> list[bytes]:
    separator = b"\r\n\r\n" if b"\r\n" in text else b"\n\n"
    return [block + separator for block in text.split(separator) if block]


def _chunks(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(block[6:]) for block in _blocks(text) if block.startswith(b"data: {")]


def _may_be_the_end(blocks: list[bytes]) -> bool:
    over: dict[int, bool] = {}
    for block in blocks:
        if block.startswith(b"data: {"):
            try:
                chunk = json.loads(block[6:])
            except ValueError:
                return False
            for choice in chunk["choices"]:
                over[choice["index"]] = over.get(choice["index"], False) or choice["finish_reason"] is not None
    return bool(over) and all(over.values())

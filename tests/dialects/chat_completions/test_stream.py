"""What a chat stream keeps back, hides and reads, beyond what the stories tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibridge.dialects.base import Reply, Thought, TokenUsage, ToolUse, Turn
from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.dialects.chat_completions.ending import MAX_HELD
from aibridge.errors import Problem
from aibridge.wire.sse import MAX_EVENT

_DONE = b"data: [DONE]\n\n"
_ASKED = b'{"model":"m-1","stream":true,"stream_options":{"include_usage":true}}'
_NOT_ASKED = b'{"model":"m-1","stream":true}'


def _reply(request: bytes = _ASKED) -> Reply:
    return CHAT_COMPLETIONS.parse(request).asking_usage().reply(stream=True)


def _chunk(delta: object, finish: object = None, index: object = 0, **more: object) -> bytes:
    choices = [{"index": index, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"id": "c1", "choices": choices, **more}).encode() + b"\n\n"


def _text(text: str, **more: Any) -> bytes:
    return _chunk({"content": text}, **more)


_STOP = _chunk({}, "stop")
_USAGE = b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'


def test_a_finish_reason_goes_out_with_the_usage_read_and_the_end_withheld() -> None:
    reply = _reply()

    assert reply.receive(_text("a") + _STOP) == _text("a")
    assert reply.receive(_USAGE) == b""
    ends = [reply.finished]
    assert reply.receive(_DONE) == _STOP + _USAGE
    assert [*ends, reply.finished] == [False, True]
    assert reply.end_turn().outcome == "complete"
    assert reply.finish() == _DONE


def test_without_done_the_end_of_the_body_decides() -> None:
    reply = _reply()

    assert reply.receive(_text("a") + _STOP + _USAGE) == _text("a")
    assert reply.end_turn() == Turn(outcome="complete", response_id="c1")
    assert reply.finish() == _STOP + _USAGE
    assert reply.facts() == (TokenUsage(response_id="c1", input_tokens=3, output_tokens=2),)
    assert reply.finish() == b""


def test_more_text_shows_that_it_was_not_the_end() -> None:
    reply = _reply()
    reply.receive(_text("a"))

    assert reply.receive(_STOP) == b""
    assert reply.receive(_text("b")) == _STOP
    assert reply.receive(_text("c")) == _text("b")
    assert reply.end_turn().outcome == "complete"
    assert reply.finish() == _text("c")


def test_a_choice_that_begins_late_shows_that_it_was_not_the_end() -> None:
    reply = _reply()
    reply.receive(_text("a"))
    reply.receive(_STOP)

    assert reply.receive(_text("b", index=1)) == _STOP + _text("b", index=1)
    assert reply.end_turn().outcome == "cut"
    assert reply.finish() == b""


def test_what_comes_after_the_finish_stays_in_its_order() -> None:
    reply = _reply()
    noise = [b": waiting\n\n", b"data: {broken\n\n", b"data:\n\n", _USAGE, _chunk({"content": ""})]

    assert reply.receive(_STOP + b"".join(noise)) == b""
    assert reply.receive(_DONE) == _STOP + b"".join(noise)


def test_what_is_kept_back_is_bounded() -> None:
    reply, comment = _reply(), b":" + b"x" * 998 + b"\n\n"
    sent, received = _STOP, [reply.receive(_STOP)]
    for _ in range(1000):
        sent += comment
        received.append(reply.receive(comment))
        assert len(sent) - len(b"".join(received)) <= MAX_HELD + 2 * len(comment)

    assert reply.receive(_DONE).endswith(comment)
    assert reply.end_turn().outcome == "complete"


def test_an_event_too_large_to_be_read_does_not_overtake_what_is_kept_back() -> None:
    reply = _reply()
    large = b"data: " + b"x" * (MAX_EVENT + 10) + b"\n\n"
    received = reply.receive(_STOP) + reply.receive(large) + reply.receive(_DONE)

    assert received + reply.finish() == _STOP + large + _DONE


def test_an_error_after_the_finish_ends_the_stream_as_failed() -> None:
    reply, error = _reply(), b'data: {"error":{"message":"broken","type":"server_error"}}\n\n'

    assert reply.receive(_text("a") + _STOP + error + _DONE) == _text("a") + _STOP
    assert reply.end_turn() == Turn(
        outcome="failed", response_id="c1", error_type="server_error", error_message="broken"
    )
    assert reply.finish() == error + _DONE


@pytest.mark.parametrize(
    ("end", "turn", "events"),
    [
        (b"", "complete", _STOP),
        (_USAGE[:-9], "cut", _STOP),
        (b"data: [DO", "cut", _STOP),
        (b"da", "cut", _STOP),
        (_USAGE[:-1], "complete", _STOP),
        (_USAGE[:-2], "complete", _STOP),
        (b"\n", "complete", _STOP),
        (b": bye", "complete", _STOP),
        (b"data: [DONE]", "complete", b""),
        (b"data: [DONE]\n", "complete", b""),
    ],
)
def test_an_end_without_its_empty_line_counts_if_it_is_whole(end: bytes, turn: str, events: bytes) -> None:
    """`events` is what the client gets before the error, should the reply fail all the same."""
    reply, failed = _reply(), _reply()
    reply.receive(_text("a") + _STOP + end)
    failed.receive(_text("a") + _STOP + end)
    failed.end_turn()

    assert reply.end_turn().outcome == turn
    assert failed.fail(Problem(502, "cut")) == events + CHAT_COMPLETIONS.error_event(Problem(502, "cut"))
    if turn == "complete":
        assert reply.finish() == _STOP + end


def test_empty_events_are_nothing_to_complain_about() -> None:
    reply = _reply()

    assert reply.receive(b"data:\n\ndata: \n\n: c\n\nid: 7\n\n\n\n") == b"data:\n\ndata: \n\n: c\n\nid: 7\n\n\n\n"
    assert reply.facts() == ()


def test_a_turn_can_be_ended_twice() -> None:
    reply = _reply()
    reply.receive(_text("a") + _chunk({"reasoning": "hm", "tool_calls": [{"index": 0, "id": "c"}]}, "stop"))

    first, facts = reply.end_turn(), reply.facts()
    assert reply.end_turn() == first
    assert reply.facts() == ()
    assert len(facts) == 2


def test_usage_beside_a_choice_is_left_where_it_is() -> None:
    reply = _reply(_NOT_ASKED)
    chunk = _chunk({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 1})

    assert reply.receive(chunk + _DONE) == chunk


def test_a_chunk_that_has_usage_and_no_choices_at_all_is_gone() -> None:
    reply = _reply(_NOT_ASKED)
    bare = [
        b'data: {"id":"c1","usage":{"prompt_tokens":1}}\n\n',
        b'data: {"choices":null,"usage":{"prompt_tokens":1}}\n\n',
    ]

    assert reply.receive(_text("a") + b"".join(bare)) == _text("a")


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b'data: {"usage":null}\n\n', b"data: {}\n\n"),
        (b'data: { "usage" : null , "x":1}\n\n', b'data: { "x":1}\n\n'),
        (b'data: {"x":{"usage":null} , "usage": null }\n\n', b'data: {"x":{"usage":null}  }\n\n'),
        (b'data: {"x":{"usage":null}}\n\n', b'data: {"x":{"usage":null}}\n\n'),
        (b'data: {"x":"\\"usage\\":null"}\n\n', b'data: {"x":"\\"usage\\":null"}\n\n'),
        (b'id: 7\ndata:{"usage":null,"x":1}\n: c\n\n', b'id: 7\ndata:{"x":1}\n: c\n\n'),
        (b'data: {"usage":null,"usage":null}\n\n', b'data: {"usage":null}\n\n'),
        (b'data: {"x":[\ndata: ],"usage":null}\n\n', b'data: {"x":[\ndata: ],"usage":null}\n\n'),
        (b'data: {"choices":[],"prompt_filter_results":[],"usage":null}\n\n', b'data: {"choices":[],"prompt_filter_results":[]}\n\n'),
    ],
)  # fmt: skip
def test_null_usage_is_cut_out_where_it_is_a_member_of_the_chunk(sent: bytes, shown: bytes) -> None:
    assert _reply(_NOT_ASKED).receive(sent) == shown
    assert _reply(_ASKED).receive(sent) == sent


def test_hiding_is_for_those_who_did_not_ask_and_for_streams() -> None:
    whole = b'{"id":"c1","choices":[],"usage":null}'
    reply = CHAT_COMPLETIONS.parse(_NOT_ASKED).asking_usage().reply(stream=False)
    reply.receive(whole)
    reply.end_turn()

    assert reply.finish() == whole
    assert CHAT_COMPLETIONS.parse(_NOT_ASKED).reply(stream=True).receive(_USAGE) == _USAGE


def test_a_late_usage_counts_and_a_null_or_empty_one_does_not() -> None:
    reply = _reply()
    last = {"prompt_tokens": 9, "completion_tokens": 9}
    for usage in (last, {"prompt_tokens": 1}, None, last, None, {}, 7):
        reply.receive(_text("a", usage=usage))
    reply.receive(_DONE)
    reply.end_turn()

    assert reply.facts() == (TokenUsage(response_id="c1", input_tokens=9, output_tokens=9),)


def test_a_thought_or_a_call_that_says_the_same_again_is_heard_again() -> None:
    reply = _reply()
    for _ in range(3):
        reply.receive(_chunk({"content": "", "reasoning_content": "no, "}))
        reply.receive(_chunk({"content": "", "tool_calls": [{"index": 0, "id": "c", "function": {"arguments": "1"}}]}))
    reply.end_turn()

    assert reply.facts() == (
        Thought(content="no, no, no, ", source="reasoning"),
        ToolUse(response_id="c1", call_id="c", tool="", input=111),
    )


def test_the_tier_and_the_id_are_the_answers() -> None:
    reply = _reply()
    reply.receive(b'data: {"id":"","choices":[],"service_tier":null}\n\n')
    ids = [reply.response_id]
    reply.receive(_text("a", service_tier="flex"))
    reply.receive(_text("b").replace(b'"c1"', b'"c2"') + _USAGE + _DONE)

    assert [*ids, reply.response_id] == [None, "c1"]
    assert reply.end_turn().response_id == "c1"
    assert [fact.extra for fact in reply.facts() if isinstance(fact, TokenUsage)] == [{"service_tier": "flex"}]


@pytest.mark.parametrize(
    "value",
    [
        "7",
        '"x"',
        "[]",
        "null",
        "true",
        '{"choices":7}',
        '{"choices":[7,null]}',
        '{"choices":[{"index":"x","delta":[]}]}',
    ],
)
def test_a_chunk_of_any_shape_passes(value: str) -> None:
    chunk = f"data: {value}\n\n".encode()

    assert _reply().receive(chunk) == chunk

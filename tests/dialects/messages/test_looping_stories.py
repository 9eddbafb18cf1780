"""Every story again, told to a request that offers tools: where none of them is called, nothing is different."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibridge.dialects.base import Fact
from aibridge.dialects.messages import MESSAGES
from aibridge.dialects.messages.request import MessagesRequest, parse
from aibridge.dialects.turns import LoopingReply
from aibridge.errors import Problem
from aibridge.tools import Image, Text, ToolResult
from tests.dialects.messages.loops import TOOLS, Scripted, said_of
from tests.dialects.messages.scripts import scripts
from tests.strategies.chunks import chunkings
from tests.transcripts.stories import Story, stories
from tests.wire.plain_sse import events_of

_STORIES = stories("messages")
_ANY = parse(b'{"model":"m","messages":[{"role":"user","content":"go"}]}').offering(TOOLS)


@pytest.mark.parametrize("story", _STORIES, ids=lambda story: story.name)
@settings(max_examples=5)
@given(data=st.data())
def test_a_story_is_told_the_same(story: Story, data: st.DataObject) -> None:
    reply = _ANY.reply(stream=story.stream)
    received, facts = b"", list[Fact]()
    for chunk in data.draw(chunkings(story.upstream)):
        received += reply.receive(chunk)
        facts += reply.facts()
    turn = reply.end_turn()
    facts += reply.facts()

    if turn.outcome == "cut":
        assert story.client.startswith(received)
    else:
        assert received + reply.finish() == story.client
    assert tuple(facts) == story.facts
    assert {name: getattr(turn, name) for name in story.turn} == dict(story.turn)
    assert turn.calls == ()


@given(scripts(), st.data())
def test_a_later_turn_cut_anywhere_ends_one_well_formed_reply_with_an_error(
    script: list[Scripted], data: st.DataObject
) -> None:
    reply = cast("LoopingReply", _ANY.reply(stream=True))
    received = b""
    for answer in script[:-1]:
        received += reply.receive(answer.stream())
        turn = reply.end_turn()
        reply.answer(turn, [said_of(call) for call in turn.calls])
        reply.next_turn()
    whole = script[-1].stream()
    end = whole.rindex(b"event: message_stop")
    received += reply.receive(whole[: data.draw(st.integers(0, end), label="cut")])
    turn = reply.end_turn()
    received += reply.fail(Problem(502, "broke off"))

    events = [json.loads(sent) for _, sent in events_of(received)]
    assert turn.outcome == "cut"
    assert not turn.runnable
    assert all(call.unrunnable for call in turn.calls)
    assert events[-1] == {"type": "error", "error": {"type": "api_error", "message": "broke off"}}
    assert [event["type"] for event in events].count("message_start") <= 1
    starts = [event["index"] for event in events if event["type"] == "content_block_start"]
    assert starts == list(range(len(starts)))
    assert b"bmcp_" not in received


# -- a turn goes on as it came


def _event(**event: object) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _delta(index: int, written: str) -> bytes:
    data = f'{{"type":"content_block_delta","index":{index},"delta":{written}}}'
    return f"event: content_block_delta\ndata: {data}\n\n".encode()


def _start(index: int, written: str) -> bytes:
    return f'data: {{"type":"content_block_start","index":{index},"content_block":{written}}}\n\n'.encode()


_STOP = _event(type="message_delta", delta={"stop_reason": "tool_use"}) + _event(type="message_stop")


def _continued(stream: bytes, request: MessagesRequest = _ANY, *results: ToolResult) -> bytes:
    reply = request.reply(stream=True)
    reply.receive(stream)
    turn = reply.end_turn()
    return request.continued(turn, results or [said_of(call) for call in turn.calls]).body()


def test_what_nobody_here_knows_of_a_block_goes_back_byte_for_byte() -> None:
    stream = (
        _start(0, '{"type":"novelty","big":12345678901234567890,"f":1.50}')
        + _delta(0, '{"type":"novelty_delta","more":{"a":[1]}}')
        + _start(1, '{"type":"text","text":"a","citations":null,"x":1e2}')
        + _delta(1, '{"type":"text_delta","text":"\\u00e9 \\ud83d\\ude00"}')
        + _delta(1, '{"type":"citations_delta","citation":{"type":"c","n":1}}')
        + _start(2, '{"type":"tool_use","id":"toolu_1","name":"bmcp_demo_look","input":{},"caller":{"type":"direct"}}')
        + _delta(2, '{"type":"input_json_delta","partial_json":"{\\"z\\": 1.0, "}')
        + _delta(2, '{"type":"input_json_delta","partial_json":"\\"a\\":1e400}"}')
        + _STOP
    )

    body = _continued(stream).decode()

    assert '{"type":"novelty","big":12345678901234567890,"f":1.50,"more":{"a":[1]}}' in body
    assert '{"type":"text","text":"a\\u00e9 \\ud83d\\ude00","citations":[{"type":"c","n":1}],"x":1e2}' in body
    assert '"name":"bmcp_demo_look","input":{"z": 1.0, "a":1e400},"caller":{"type":"direct"}}' in body


def test_arguments_that_are_no_object_are_not_run_and_go_back_wrapped() -> None:
    call = '{"type":"tool_use","id":"toolu_1","name":"bmcp_demo_look","input":{}}'
    stream = _start(0, call) + _delta(0, '{"type":"input_json_delta","partial_json":"{\\"a\\":"}') + _STOP
    reply = _ANY.reply(stream=True)
    reply.receive(stream)
    turn = reply.end_turn()

    body = json.loads(_ANY.continued(turn, [said_of(call) for call in turn.calls]).body())

    assert turn.runnable
    assert turn.calls[0].arguments == '{"a":'
    assert "not valid JSON" in (turn.calls[0].unrunnable or "")
    assert body["messages"][1]["content"][0]["input"] == {"INVALID_JSON": '{"a":'}
    assert body["messages"][2]["content"][0]["is_error"] is True


def test_results_are_what_the_api_takes() -> None:
    image, drawing = Image("image/png", "AAAA"), Image("image/svg+xml", "AAAA")
    call = '{"type":"tool_use","id":"toolu_%d","name":"bmcp_demo_look","input":{}}'
    results = [
        ToolResult(call_id="toolu_0", content=(Text("seen"), image, drawing, Text(" "))),
        ToolResult(call_id="toolu_1", content=(Text("broken"), image), error="it broke"),
        ToolResult(call_id="toolu_2", content=(), error="it broke"),
        ToolResult(call_id="toolu_3", content=()),
    ]

    body = json.loads(_continued(b"".join(_start(n, call % n) for n in range(4)) + _STOP, _ANY, *results))

    seen, broken, silent, empty = body["messages"][2]["content"]
    assert [part["type"] for part in seen["content"]] == ["text", "image", "text"]
    assert seen["content"][1]["source"] == {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert "image/svg+xml" in seen["content"][2]["text"]
    assert "is_error" not in seen
    assert broken["is_error"] is True
    assert [part["type"] for part in broken["content"]] == ["text"]
    assert silent["content"] == [{"type": "text", "text": "it broke"}]
    assert empty["content"] == []


@pytest.mark.parametrize(
    ("asked", "goes_on"),
    [
        ({}, "cont_1"),
        ({"container": "cont_0"}, "cont_1"),
        ({"container": {"skills": [1]}}, {"skills": [1], "id": "cont_1"}),
    ],
)
def test_the_container_that_code_ran_in_goes_on_being_used(asked: dict[str, Any], goes_on: object) -> None:
    request = parse(json.dumps({"model": "m", "messages": [], **asked}).encode()).offering(TOOLS)
    call = _start(0, '{"type":"tool_use","id":"toolu_1","name":"bmcp_demo_look","input":{}}')
    stop = _event(type="message_delta", delta={"stop_reason": "tool_use", "container": {"id": "cont_1"}})

    body = json.loads(_continued(call + stop + _event(type="message_stop"), request))

    assert body["container"] == goes_on


def test_a_stop_that_is_not_the_end_of_what_is_said_is_relayed_with_it() -> None:
    reply = _ANY.reply(stream=True)
    call = _start(0, '{"type":"tool_use","id":"toolu_1","name":"bmcp_demo_look","input":{}}')
    usage = _event(type="message_delta", delta={"stop_reason": None}, usage={"output_tokens": 3})
    text = _start(1, '{"type":"text","text":""}')

    assert reply.receive(call) == b""
    assert reply.receive(usage) == b""
    assert reply.receive(text) == usage + text.replace(b'"index":1', b'"index":0')


def test_what_follows_a_hidden_stop_waits_with_it() -> None:
    reply = _ANY.reply(stream=True)
    call = _start(0, '{"type":"tool_use","id":"toolu_1","name":"bmcp_demo_look","input":{}}')
    stop, ping = _event(type="message_delta", delta={"stop_reason": "max_tokens"}), _event(type="ping")

    assert reply.receive(call + stop + ping) == b""
    assert reply.receive(_event(type="message_stop")) == b""
    reply.end_turn()
    assert reply.finish() == stop + ping + _event(type="message_stop")


def test_a_keepalive_fits_between_the_turns() -> None:
    reply = cast("LoopingReply", _ANY.reply(stream=True))
    call = _start(0, '{"type":"tool_use","id":"toolu_1","name":"bmcp_demo_look","input":{}}')
    received = reply.receive(_event(type="message_start", message={"id": "msg_1", "content": []}) + call + _STOP)
    turn = reply.end_turn()
    reply.answer(turn, [said_of(one) for one in turn.calls])
    received += MESSAGES.keepalive
    reply.next_turn()
    received += reply.receive(Scripted([{"type": "text", "text": "Done."}]).stream())
    reply.end_turn()

    kinds = [json.loads(sent)["type"] for _, sent in events_of(received + reply.finish())]

    assert kinds[:2] == ["message_start", "ping"]
    assert kinds[-1] == "message_stop"

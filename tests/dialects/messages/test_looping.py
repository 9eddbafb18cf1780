"""A Messages reply over several turns: what the client sees of it, and what the provider is asked next."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from aibridge.dialects.base import Thought, TokenUsage, ToolUse
from aibridge.dialects.messages.request import MessagesRequest, parse
from aibridge.dialects.turns import LoopingReply
from aibridge.errors import InvalidRequest
from aibridge.tools import NO_TOOLS, Toolset
from tests.dialects.messages.loops import TOOLS, Block, Scripted, play, said_of
from tests.wire.plain_sse import events_of


def _asking(**members: object) -> MessagesRequest:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "go"}], **members}
    return parse(json.dumps(body).encode()).offering(TOOLS)


def _text(said: str) -> Block:
    return {"type": "text", "text": said}


def _call(call_id: str, name: str = "bmcp_demo_look", **arguments: object) -> Block:
    return {"type": "tool_use", "id": call_id, "name": name, "input": arguments}


_THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}


def _events(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(data) for _, data in events_of(stream)]


def test_the_client_of_a_stream_sees_one_message_of_all_turns() -> None:
    first = Scripted([_THOUGHT, _text("Let me look."), _call("toolu_1", path="/")], "tool_use", id="msg_1")
    second = Scripted([_text("It is "), _text("there.")], usage={"input_tokens": 30, "output_tokens": 7}, id="msg_2")

    played = play(_asking(), [first, second], stream=True)

    events = [event for event in _events(played.received) if event["type"] != "ping"]
    kinds = [event["type"] for event in events]
    starts = [event for event in events if event["type"] == "content_block_start"]
    assert [event["index"] for event in starts] == [0, 1, 2, 3]
    assert [event["content_block"]["type"] for event in starts] == ["thinking", "text", "text", "text"]
    assert kinds.count("message_start") == kinds.count("message_delta") == kinds.count("message_stop") == 1
    assert events[0]["message"]["id"] == "msg_1"
    assert events[-2]["delta"]["stop_reason"] == "end_turn"
    assert events[-2]["usage"] == {"output_tokens": 12, "input_tokens": 30}
    assert b"bmcp_" not in played.received


def test_the_provider_is_asked_again_with_the_turn_as_it_came_and_all_results_in_one_message() -> None:
    calls = [_call("toolu_1", path="/"), _call("toolu_2", "bmcp_demo_count")]
    first = Scripted([_THOUGHT, _text(""), _text("Looking."), *calls], "tool_use")

    played = play(_asking(), [first, Scripted([_text("Done.")])], stream=True)

    assistant, user = played.bodies[1]["messages"][1:]
    assert assistant == {"role": "assistant", "content": [_THOUGHT, _text("Looking."), *calls]}
    assert user["role"] == "user"
    assert user["content"] == [
        {"type": "tool_result", "tool_use_id": call_id, "content": [_text(f"result of {call_id}")]}
        for call_id in ("toolu_1", "toolu_2")
    ]
    assert played.bodies[1]["tools"] == played.bodies[0]["tools"]


def test_a_blocking_answer_is_the_last_body_with_what_was_visible_before() -> None:
    first = Scripted([_THOUGHT, _text("Looking."), _call("toolu_1")], "tool_use", id="msg_1")
    last = Scripted([_text("Done.")], usage={"input_tokens": 30, "output_tokens": 7}, id="msg_2")

    played = play(_asking(), [first, last], stream=False)

    assert json.loads(played.received) == {
        **json.loads(last.body()),
        "content": [_THOUGHT, _text("Looking."), _text("Done.")],
        "usage": {"input_tokens": 30, "output_tokens": 12},
    }


@pytest.mark.parametrize("stream", [True, False])
def test_a_reply_without_a_call_of_ours_is_the_providers_bytes(stream: bool) -> None:
    answer = Scripted([_THOUGHT, _text("Hi"), _call("toolu_1", "read")], "tool_use")

    played = play(_asking(), [answer], stream=stream)

    assert played.received == (answer.stream() if stream else answer.body())
    assert played.turns[0].calls == ()
    assert played.hidden is None


@pytest.mark.parametrize("stream", [True, False])
def test_a_mixed_turn_shows_the_client_its_own_calls_and_ends_the_reply(stream: bool) -> None:
    answer = Scripted([_text("Both."), _call("toolu_1"), _call("toolu_2", "read", path="/")], "tool_use")

    played = play(_asking(), [answer], stream=stream)

    assert played.turns[0].mixed
    assert b"toolu_1" not in played.received
    assert b"toolu_2" in played.received
    assert b'"tool_use"' in played.received
    assert b"end_turn" not in played.received
    assert [fact.call_id for fact in played.facts if isinstance(fact, ToolUse)] == ["toolu_2"]


@pytest.mark.parametrize("stream", [True, False])
def test_a_reply_that_cannot_go_on_ends_as_a_turn_and_not_for_tools(stream: bool) -> None:
    answer = Scripted([_text("Again."), _call("toolu_1")], "tool_use")

    played = play(_asking(), [answer], stream=stream)

    assert b"end_turn" in played.received
    assert b"tool_use" not in played.received


@pytest.mark.parametrize("stream", [True, False])
def test_a_turn_that_was_cut_for_lack_of_room_is_not_run(stream: bool) -> None:
    answer = Scripted([_text("Again."), _call("toolu_1")], "max_tokens")

    played = play(_asking(), [answer], stream=stream)

    (call,) = played.turns[0].calls
    assert not played.turns[0].runnable
    assert "cut off" in (call.unrunnable or "")
    assert b"max_tokens" in played.received
    assert b"toolu_1" not in played.received


@pytest.mark.parametrize("stream", [True, False])
def test_every_turn_tells_its_own_facts(stream: bool) -> None:
    first = Scripted([_THOUGHT, _call("toolu_1")], "tool_use", id="msg_1")
    last = Scripted([_THOUGHT, _text("x")], usage={"input_tokens": 3, "output_tokens": 4}, id="msg_2")

    played = play(_asking(), [first, last], stream=stream)

    usages = [fact for fact in played.facts if isinstance(fact, TokenUsage)]
    assert [(usage.response_id, usage.input_tokens, usage.output_tokens) for usage in usages] == [
        ("msg_1", 10, 5),
        ("msg_2", 3, 4),
    ]
    assert len([fact for fact in played.facts if isinstance(fact, Thought)]) == 2
    assert not [fact for fact in played.facts if isinstance(fact, ToolUse)]


def test_a_piece_of_a_later_turn_leaves_at_once() -> None:
    reply = cast("LoopingReply", _asking().reply(stream=True))
    reply.receive(Scripted([_text("Looking."), _call("toolu_1")], "tool_use").stream())
    turn = reply.end_turn()
    reply.answer(turn, [said_of(call) for call in turn.calls])
    reply.next_turn()
    stream = Scripted([_text("live")]).stream()
    piece = stream.index(b"\n\n", stream.index(b"text_delta")) + 2

    (*_, last) = _events(reply.receive(stream[:piece]))

    assert last == {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "liv"}}


# -- what is offered


@pytest.mark.parametrize(
    ("tools", "offered"),
    [
        (None, "OURS"),
        (b"null", "OURS"),
        (b"[ ]", "OURS"),
        (b'[ {"name": "read" } ]', 'OURS,{"name": "read" }'),
    ],
)
def test_our_tools_stand_before_the_clients_whose_bytes_stay(tools: bytes | None, offered: str) -> None:
    member = b"" if tools is None else b',"tools":' + tools

    body = parse(b'{"model":"m"' + member + b"}").offering(TOOLS).body().decode()

    ours = ",".join(json.dumps(one, separators=(",", ":")) for one in _DEFINITIONS)
    assert body.replace("[ ", "[").replace(" ]", "]") == '{"model":"m","tools":[' + offered.replace("OURS", ours) + "]}"


_DEFINITIONS = [
    {"name": f"bmcp_demo_{name}", "input_schema": {"type": "object", "properties": {}}} for name in ("count", "look")
]


@pytest.mark.parametrize(
    "member",
    [
        b'"tool_choice":{"type":"none"}',
        b'"tool_choice":{"type":"any"}',
        b'"tool_choice":{"type":"tool","name":"read"}',
        b'"tool_choice":"auto"',
        b'"tools":{}',
        b'"tools":7',
    ],
)
def test_nothing_is_offered_where_a_tool_is_forced_or_forbidden_or_the_list_is_none(member: bytes) -> None:
    request = parse(b'{"model":"m",' + member + b"}")

    assert request.offering(TOOLS) is request
    assert not request.offers


@pytest.mark.parametrize("member", [b'"tool_choice":{"type":"auto"}', b'"tool_choice":null', b'"stream":true'])
def test_tools_are_offered_where_the_model_may_choose(member: bytes) -> None:
    assert parse(b'{"model":"m",' + member + b"}").offering(TOOLS).offers


@pytest.mark.parametrize("toolset", [TOOLS, NO_TOOLS])
def test_a_tool_of_the_clients_with_our_prefix_is_refused(toolset: Toolset) -> None:
    request = parse(b'{"model":"m","tools":[{"name":"read"},{"name":"bmcp_x"}],"tool_choice":{"type":"none"}}')

    with pytest.raises(InvalidRequest, match="bmcp_x"):
        request.offering(toolset)


def test_a_body_that_counts_tokens_is_offered_the_same_tools() -> None:
    counting = parse(b'{"model":"m","messages":[]}').offering(TOOLS)

    assert [tool["name"] for tool in json.loads(counting.body())["tools"]] == ["bmcp_demo_count", "bmcp_demo_look"]


def test_what_the_client_brings_is_told() -> None:
    request = parse(b'{"model":"m","tools":[{"name":"read"},{"type":"x"},7,{"name":"web_search"}],"mcp_servers":[{}]}')

    assert request.client_tools == ("read", "web_search")
    assert request.brings_servers
    assert not parse(b'{"model":"m","mcp_servers":[]}').brings_servers


@pytest.mark.parametrize("name", ["tools", "tool_choice", "mcp_servers"])
def test_what_rules_go_by_stands_only_once(name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        parse(f'{{"model":"m","{name}":[{{}}],"{name}":[]}}'.encode())


def test_the_last_request_keeps_the_tools_and_forbids_them() -> None:
    request = _asking()
    turn = play(request, [Scripted([_call("toolu_1")], "tool_use")], stream=True).turns[0]

    body = json.loads(request.continued(turn, [said_of(call) for call in turn.calls], last=True).body())

    assert body["tool_choice"] == {"type": "none"}
    assert len(body["tools"]) == 2


@pytest.mark.parametrize("name", [b'"model"', b'"id": "toolu_1", "n'])
def test_an_answer_that_can_be_read_and_not_edited_passes_as_it_came(name: bytes) -> None:
    body = Scripted([_call("toolu_1", path="/")], "tool_use").body()
    assert name in body
    body = body.replace(name, name[:-1] + b"\xff" + name[-1:])
    reply = _asking().reply(stream=False)
    reply.receive(body)
    turn = reply.end_turn()

    assert (turn.outcome, turn.calls) == ("complete", ())
    assert reply.finish() == body

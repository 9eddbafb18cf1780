"""Replies over several turns: what the client sees, what the provider is asked, and what is told of both."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibridge.dialects.base import StoredIds, Thought, TokenUsage, ToolUse
from aibridge.dialects.responses import RESPONSES
from aibridge.dialects.responses.request import ResponsesRequest
from aibridge.dialects.turns import LoopingReply
from aibridge.errors import Problem
from aibridge.tools import Image, Text, ToolResult
from tests.dialects.responses.events import Json
from tests.dialects.responses.provider import (
    TOOLS,
    Played,
    answer_item,
    answered,
    call,
    message,
    play,
    reasoning,
    request_of,
    search,
    streamed,
)

both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])


def _offering(**members: Any) -> ResponsesRequest:
    return request_of(**{"input": "hello", "store": False, **members}).offering(TOOLS)


def _looping(reply: object) -> LoopingReply:
    assert hasattr(reply, "next_turn")
    return reply  # type: ignore[return-value]  # mypy: `hasattr` is no narrowing to a protocol


def _items(played: Played) -> list[Json]:
    items: list[Json] = played.response()["output"]
    return items


_TURNS = [
    [
        reasoning("rs_1", "Which page?", "A=="),
        message("msg_1", "Let me look."),
        call("c_1", "bmcp_wiki_search", '{"q":1}'),
    ],
    [call("c_2", "bmcp_wiki_read")],
    [reasoning("rs_3", "Now I know.", "B=="), message("msg_3", "It is on page 3.")],
]


# -- what the client sees ------------------------------------------------------------------------------


@both_modes
def test_the_client_sees_one_response_without_our_calls(stream: bool) -> None:
    played = play(_offering(), _TURNS, stream=stream)

    shown = played.response()
    assert [item["id"] for item in shown["output"]] == ["rs_1", "msg_1", "rs_3", "msg_3"]
    assert shown["id"] == "resp_1"
    assert shown["tools"] == []
    assert b"bmcp_" not in played.got
    assert shown["usage"] == {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 8},
        "output_tokens": 150,
        "output_tokens_details": {"reasoning_tokens": 60},
        "total_tokens": 250,
    }


def test_numbers_and_places_of_events_are_consecutive() -> None:
    played = play(_offering(), [[call("c_0", "bmcp_wiki_read"), search("ws_1"), call("c_1", "bmcp_x")], *_TURNS])

    events = played.events()
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    added = [event for event in events if event["type"] == "response.output_item.added"]
    assert [event["output_index"] for event in added] == [0, 1, 2, 3, 4]
    places = {event["item_id"]: event["output_index"] for event in events if "item_id" in event}
    assert places == {"ws_1": 0, "rs_1": 1, "msg_1": 2, "rs_3": 3, "msg_3": 4}
    lifecycle = [event["type"] for event in events if "response" in event]
    assert lifecycle == ["response.created", "response.in_progress", "response.completed"]


def test_text_of_a_later_turn_leaves_at_once() -> None:
    request = _offering()
    reply = _looping(request.reply(stream=True))
    reply.receive(streamed(answered("resp_1", _TURNS[0], {})))
    turn = reply.end_turn()
    reply.answer(turn, [ToolResult(call_id="c_1", content=(Text("ok"),))])
    reply.next_turn()

    blocks = streamed(answered("resp_2", [message("msg_2", 'a"b')], {}), pieces=1).split(b"\n\n")
    out = [reply.receive(one + b"\n\n") for one in blocks[:-1]]

    assert out[0] == out[1] == out[-1] == b""
    deltas = [one for one in out if b"output_text.delta" in one]
    assert [json.loads(one.split(b"data: ")[1])["delta"] for one in deltas] == ["a", '"', "b"]
    assert all(b'"output_index":2' in one for one in deltas)


@both_modes
def test_where_nothing_of_ours_is_called_the_bytes_are_the_providers(stream: bool) -> None:
    items = [reasoning("rs_1", "So."), message("msg_1", 'Say "bmcp_wiki_read".'), call("c_1", "own"), search("ws_1")]
    answer = answered("resp_1", items, {"tools": [{"type": "function", "name": "own"}], "tool_choice": "auto"})
    plain = streamed(answer) if stream else json.dumps(answer, indent=1).encode()
    offered = json.loads(_offering().body())["tools"]
    answer["tools"] += offered
    sent = streamed(answer) if stream else json.dumps(answer, indent=1).encode()
    reply = _offering().reply(stream=stream)

    received = reply.receive(sent)
    turn = reply.end_turn()

    assert turn.calls == ()
    assert turn.said == b""
    assert json.dumps(offered[0]).encode() not in received
    if stream:
        assert received + reply.finish() == plain
    else:
        assert json.loads(reply.finish()) == json.loads(plain)


@both_modes
def test_a_mixed_turn_ends_the_reply_with_the_clients_calls(stream: bool) -> None:
    items = [call("c_1", "own"), call("c_2", "bmcp_wiki_read"), call("c_3", "own", '{"a":1}')]

    played = play(_offering(), [items], stream=stream)

    (turn,) = played.turns
    assert (turn.mixed, turn.runnable, [one.call_id for one in turn.calls]) == (True, True, ["c_2"])
    assert [item["call_id"] for item in _items(played)] == ["c_1", "c_3"]
    assert played.response()["status"] == "completed"
    assert [fact.call_id for fact in played.facts if isinstance(fact, ToolUse)] == ["c_1", "c_3"]


@pytest.mark.parametrize(
    ("items", "mixed"),
    [
        ([search("ws_1")], False),
        ([{"type": "shell_call", "id": "sh_1", "call_id": "c_sh"}], True),
        ([{"type": "shell_call", "id": "sh_1", "call_id": "c_sh"}, {"type": "shell_call_output", "id": "sho", "call_id": "c_sh"}], False),
        ([{"type": "computer_call", "id": "cu_1", "call_id": "c_cu"}], True),
        ([{"type": "mcp_approval_request", "id": "mcpr_1", "name": "x"}], True),
        ([{"type": "mcp_call", "id": "mcp_1", "name": "x"}], False),
        ([{"type": "custom_tool_call", "id": "ct_1", "call_id": "c_ct", "name": "own", "input": "x"}], True),
    ],
)  # fmt: skip
def test_only_calls_that_the_client_answers_make_a_turn_mixed(items: list[Json], mixed: bool) -> None:
    (turn,) = play(_offering(), [[*items, call("c_1", "bmcp_wiki_read")]]).turns

    assert turn.mixed is mixed


# -- what the provider is asked ------------------------------------------------------------------------


@both_modes
def test_each_turn_is_asked_with_all_before_it_in_the_providers_bytes(stream: bool) -> None:
    played = play(_offering(input=[{"role": "user", "content": "hello"}]), _TURNS, stream=stream)

    first, second, third = (played.inputs(turn) for turn in range(3))
    assert first == [{"role": "user", "content": "hello"}]
    assert second == [*first, *_TURNS[0], answer_item("c_1")]
    assert third == [*second, *_TURNS[1], answer_item("c_2")]
    for asked in played.asked:
        assert json.loads(asked)["tools"] == json.loads(played.asked[0])["tools"]
    raw = json.dumps(_TURNS[0][0], separators=(",", ":")) if stream else json.dumps(_TURNS[0][0])
    assert raw.encode() in played.asked[1]


def test_a_question_in_short_becomes_a_message() -> None:
    assert play(_offering(), _TURNS).inputs(1)[0] == {"role": "user", "content": "hello"}


@pytest.mark.parametrize("store", [False, True])
def test_thoughts_that_a_provider_without_a_store_cannot_read_are_left_out(store: bool) -> None:
    turns = [[reasoning("rs_1", "Hm."), call("c_1", "bmcp_wiki_read")], [message("msg_2", "Done.")]]

    played = play(_offering(store=store), turns)

    assert [item.get("id") for item in played.inputs(1)[1:]] == [*(["rs_1"] if store else []), "fc_c_1", None]


def test_a_conversation_is_only_given_the_results() -> None:
    played = play(_offering(store=True, conversation="conv_1"), _TURNS)

    assert played.inputs(1) == [answer_item("c_1")]
    assert played.inputs(2) == [answer_item("c_2")]
    assert json.loads(played.asked[2])["conversation"] == "conv_1"


def test_the_last_turn_may_call_nothing() -> None:
    request = _offering(tool_choice="auto")
    (turn,) = play(request, _TURNS[:1]).turns

    asked = json.loads(request.continued(turn, [ToolResult(call_id="c_1", content=())], last=True).body())

    assert asked["tool_choice"] == "none"
    assert [tool["name"] for tool in asked["tools"]] == ["bmcp_wiki_read", "bmcp_wiki_search"]


def test_the_echo_of_the_last_turns_choice_is_that_of_the_first() -> None:
    reply = _looping(_offering().reply(stream=False))
    reply.receive(json.dumps(answered("resp_1", _TURNS[0], {"tool_choice": "auto"})).encode())
    reply.answer(reply.end_turn(), [ToolResult(call_id="c_1", content=())])
    reply.next_turn()
    reply.receive(json.dumps(answered("resp_2", _TURNS[2], {"tool_choice": "none"})).encode())
    reply.end_turn()

    assert json.loads(reply.finish())["tool_choice"] == "auto"


def test_results_are_text_and_a_failure_says_so() -> None:
    request = _offering()
    custom = {"type": "custom_tool_call", "id": "ct_1", "call_id": "c_2", "name": "bmcp_odd", "input": "x"}
    (turn,) = play(request, [[call("c_1", "bmcp_wiki_read"), custom]]).turns
    results = [
        ToolResult(call_id="c_1", content=(Text("é"), Image("image/png", "AAAA"))),
        ToolResult(call_id="c_2", content=(Text("no such page"),), error="not found"),
    ]

    body = request.continued(turn, results).body()

    shown, failed = json.loads(body)["input"][-2:]
    assert shown["type"] == "function_call_output"
    assert shown["output"].startswith("é\n[an image of type image/png")
    assert failed["type"] == "custom_tool_call_output"
    assert failed["output"] == "Error: no such page"
    assert request.continued(turn, results).body() == body


# -- calls that are not run ----------------------------------------------------------------------------


@both_modes
def test_a_turn_that_was_cut_short_ends_the_reply(stream: bool) -> None:
    items = [message("msg_1", "Look"), call("c_1", "bmcp_wiki_read", '{"p":', status="incomplete")]

    played = play(_offering(), [items], statuses={0: "incomplete"}, stream=stream)

    (turn,) = played.turns
    assert (turn.outcome, turn.runnable) == ("complete", False)
    assert turn.calls[0].unrunnable is not None
    assert [item["id"] for item in _items(played)] == ["msg_1"]
    assert played.response()["status"] == "incomplete"
    assert b"bmcp_" not in played.got


@both_modes
@pytest.mark.parametrize(
    ("arguments", "runs"), [("", True), ("{}", True), ('{"p":', False), ("[1]", False), ("7", False)]
)
def test_arguments_that_are_no_object_are_not_run(stream: bool, arguments: str, runs: bool) -> None:
    (turn,) = play(_offering(), [[call("c_1", "bmcp_wiki_read", arguments)]], stream=stream).turns

    assert turn.runnable
    assert turn.calls[0].arguments == arguments
    assert (turn.calls[0].unrunnable is None) is runs


def test_a_stream_that_breaks_off_in_a_call_tells_what_was_written_of_it() -> None:
    blocks = streamed(answered("resp_1", [call("c_1", "bmcp_wiki_read", '{"p":"long"}')], {})).split(b"\n\n")
    reply = _offering().reply(stream=True)

    received = reply.receive(b"\n\n".join(blocks[:5]) + b"\n\n")
    turn = reply.end_turn()

    assert b"bmcp_" not in received
    assert (turn.outcome, turn.runnable) == ("cut", False)
    assert [(one.tool_id, one.arguments) for one in turn.calls] == [("bmcp_wiki_read", '{"p":"lo')]
    assert not [fact for fact in reply.facts() if isinstance(fact, ToolUse)]


def test_a_failure_in_a_later_turn_ends_the_one_response() -> None:
    played = play(_offering(), [_TURNS[0], [message("msg_2", "Oh")]], statuses={1: "failed"})

    assert played.turns[-1].outcome == "failed"
    assert played.events()[-1]["type"] == "response.failed"
    assert played.response()["id"] == "resp_1"
    assert [item["id"] for item in _items(played)] == ["rs_1", "msg_1", "msg_2"]


def test_an_error_of_ours_between_turns_takes_the_next_number() -> None:
    reply = _looping(_offering().reply(stream=True))
    seen = reply.receive(streamed(answered("resp_1", _TURNS[0], {})))
    turn = reply.end_turn()
    reply.answer(turn, [ToolResult(call_id="c_1", content=())])

    early = reply.fail(Problem(504, "too late"))
    reply.next_turn()
    late = reply.fail(Problem(504, "too late"))

    number = seen.count(b"event: ")
    assert f'"sequence_number":{number}'.encode() in early
    assert early == late


@both_modes
def test_what_is_too_large_to_be_read_ends_the_reply(stream: bool) -> None:
    reply = _offering().reply(stream=stream)
    piece = b"x" * 1024 * 1024
    opened = b'data: {"type":"response.output_text.delta","delta":"' if stream else b'{"object":"response","x":"'

    received = reply.receive(opened)
    for _ in range(17 if stream else 33):
        received += reply.receive(piece)

    assert received == b""
    assert reply.finished
    assert reply.end_turn().outcome == "cut"
    assert [type(fact).__name__ for fact in reply.facts()] == ["Unreadable"]


# -- what is told --------------------------------------------------------------------------------------


@both_modes
def test_every_turn_is_told_on_its_own(stream: bool) -> None:
    turns = [[*_TURNS[0], search("ws_1")], *_TURNS[1:]]

    played = play(_offering(store=True), turns, stream=stream)

    facts = played.facts
    assert [fact.response_id for fact in facts if isinstance(fact, TokenUsage)] == ["resp_1", "resp_2", "resp_3"]
    assert [fact.output_tokens for fact in facts if isinstance(fact, TokenUsage)] == [50, 50, 50]
    assert [fact.content for fact in facts if isinstance(fact, Thought)] == ["Which page?", "Now I know."]
    assert [(f.response_id, f.tool) for f in facts if isinstance(f, ToolUse)] == [("resp_1", "web_search_call")]
    stored = {one for fact in facts if isinstance(fact, StoredIds) for one in fact.ids}
    assert {"resp_1", "resp_2", "resp_3", "fc_c_1", "msg_3"} <= stored


def test_the_reply_goes_by_the_first_turns_id() -> None:
    request = _offering()
    reply = _looping(request.reply(stream=True))
    reply.receive(streamed(answered("resp_1", _TURNS[0], {})))
    reply.answer(reply.end_turn(), [ToolResult(call_id="c_1", content=())])
    reply.next_turn()
    reply.receive(streamed(answered("resp_2", _TURNS[2], {})))

    assert reply.response_id == "resp_1"


def test_a_call_with_our_prefix_is_the_clients_where_nothing_was_offered() -> None:
    request = RESPONSES.parse(b'{"model":"m","stream":true}')
    reply = request.reply(stream=True)
    sent = streamed(answered("resp_1", [call("c_1", "bmcp_wiki_read")], {}))

    received = reply.receive(sent)
    turn = reply.end_turn()

    assert received + reply.finish() == sent
    assert turn.calls == ()
    assert [fact.tool for fact in reply.facts() if isinstance(fact, ToolUse)] == ["bmcp_wiki_read"]

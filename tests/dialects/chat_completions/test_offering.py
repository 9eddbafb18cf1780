"""Where injected tools are offered in a chat request, and with which bytes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibridge.dialects.chat_completions.request import ChatRequest
from aibridge.errors import InvalidRequest
from aibridge.tools import NO_TOOLS, Text, Tool, ToolResult, Toolset
from tests.dialects.chat_completions.turns import TOOLSET, parsed

_OURS = (
    b'{"type":"function","function":{"name":"bmcp_demo_find","description":"To find.",'
    b'"parameters":{"type":"object","properties":{}},"strict":false}},'
    b'{"type":"function","function":{"name":"bmcp_demo_look","description":"To look.",'
    b'"parameters":{"type":"object","properties":{}},"strict":false}}'
)
_OF_CLIENT = b'{ "type" : "function", "function": {"name":"read_file", "x": 1.0e1} }'


def _request(**members: Any) -> ChatRequest:
    return parsed(json.dumps({"model": "m-1", "messages": [], **members}).encode())


def test_ours_stand_behind_the_clients_whose_bytes_stay() -> None:
    body = b'{"model":"m-1","tools": [ %b ] ,"messages":[]}' % _OF_CLIENT

    request = parsed(body).offering(TOOLSET)

    assert request.offers
    assert request.body() == b'{"model":"m-1","tools": [ %b,%b ] ,"messages":[]}' % (_OF_CLIENT, _OURS)
    assert request.body() == parsed(body).offering(TOOLSET).body()


@pytest.mark.parametrize("tools", [b"", b',"tools":null', b',"tools":[]'])
def test_a_client_without_tools_gets_ours(tools: bytes) -> None:
    request = parsed(b'{"model":"m-1"%b}' % tools).offering(TOOLSET)

    assert request.body() == b'{"model":"m-1","tools":[%b]}' % _OURS


@pytest.mark.parametrize(
    "members",
    [
        {"tool_choice": "none"},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "read_file"}}},
        {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
        {"n": 2},
        {"functions": [{"name": "look"}]},
        {"function_call": "auto"},
        {"prediction": {"type": "content", "content": "x"}},
        {"web_search_options": {}},
        {"tools": {"type": "function"}},
        {"tools": "all"},
    ],
    ids=str,
)
def test_a_request_that_must_not_carry_them_stays_as_it_is(members: dict[str, Any]) -> None:
    request = _request(**members)

    assert request.offering(TOOLSET) is request
    assert not request.offers


@pytest.mark.parametrize("members", [{"tool_choice": "auto"}, {"tool_choice": None, "n": 1}, {"n": None}], ids=str)
def test_a_free_choice_and_one_answer_are_no_reason_against_them(members: dict[str, Any]) -> None:
    assert _request(**members).offering(TOOLSET).offers


def test_nothing_to_offer_changes_nothing() -> None:
    request = _request()

    assert request.offering(NO_TOOLS) is request


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","tools":[{"type":"function","function":{"name":"bmcp_demo_look"}}]}',
        b'{"model":"m","tools":[{"type":"function","function":{"name":"\\u0062mcp_x"}}],"tool_choice":"none"}',
        b'{"model":"m","tools":[{"type":"custom","custom":{"name":"bmcp_x"}}]}',
        b'{"model":"m","functions":[{"name":"bmcp_x"}]}',
    ],
)
@pytest.mark.parametrize("toolset", [TOOLSET, NO_TOOLS], ids=["offered", "nothing to offer"])
def test_a_tool_of_the_clients_with_our_prefix_is_refused(body: bytes, toolset: Toolset) -> None:
    with pytest.raises(InvalidRequest, match="bmcp_"):
        parsed(body).offering(toolset)


def test_the_words_of_a_tool_may_speak_of_ours() -> None:
    tool = {"type": "function", "function": {"name": "look", "description": "Like bmcp_demo_look."}}

    assert _request(tools=[tool]).offering(TOOLSET).offers


def test_a_schema_goes_out_as_the_server_wrote_it() -> None:
    schema = b'{"type":"object", "properties":{"n":{"type":"integer","default":1e2}},"required":["n"]}'

    body = _request().offering(Toolset([Tool(id="bmcp_a_b", name="b", server="a", schema=schema)])).body()

    assert b'{"name":"bmcp_a_b","parameters":' + schema + b',"strict":false}' in body


def test_the_clients_tools_are_known_by_name() -> None:
    request = _request(
        tools=[
            {"type": "function", "function": {"name": "read_file"}},
            {"type": "custom", "custom": {"name": "patch"}},
            {"type": "function", "name": "flat"},
            {"type": "web_search"},
            "no tool",
        ],
        functions=[{"name": "old"}],
    )

    assert request.client_tools == ["read_file", "patch", "flat", "old"]
    assert _request(tools=7).client_tools == []


def test_servers_that_the_client_names_are_seen() -> None:
    assert _request(mcp_servers=[{"url": "https://mcp.example"}]).brings_servers
    assert _request(tools=[{"type": "mcp", "server_url": "https://mcp.example"}]).brings_servers
    assert not _request(tools=[{"type": "function"}], mcp_servers=[]).brings_servers


def test_the_last_request_has_the_tools_and_may_not_call_them() -> None:
    request = _request(messages=[{"role": "user", "content": "Hi"}]).offering(TOOLSET)
    reply: Any = request.reply(stream=False)
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "bmcp_demo_look", "arguments": "{}"}}],
    }
    reply.receive(json.dumps({"id": "r1", "choices": [{"message": message, "finish_reason": "tool_calls"}]}).encode())
    turn = reply.end_turn()
    last = request.continued(turn, [ToolResult(call_id="c1", content=(Text("the limit"),))], last=True)

    body = json.loads(last.body())
    assert body["tool_choice"] == "none"
    assert body["tools"] == json.loads(request.body())["tools"]
    assert body["messages"][1:] == [message, {"role": "tool", "tool_call_id": "c1", "content": "the limit"}]

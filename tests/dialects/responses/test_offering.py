"""Which requests carry injected tools, and where they stand in them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibridge.dialects.responses import RESPONSES, RESPONSES_COMPACT
from aibridge.dialects.responses.request import ResponsesRequest, parse, parse_compaction
from aibridge.errors import InvalidRequest
from aibridge.tools import NO_TOOLS, Tool, Toolset
from tests.dialects.responses.provider import TOOLS, request_of

_OURS = (
    b'{"type":"function","name":"bmcp_wiki_read","description":"","parameters":'
    b'{"type":"object","properties":{"p":{}}},"strict":false},'
    b'{"type":"function","name":"bmcp_wiki_search","description":"Finds pages.","parameters":'
    b'{"type":"object","properties":{}},"strict":false}'
)


def _parsed(text: bytes) -> ResponsesRequest:
    return parse(b'{"model":"m",' + text + b"}")


@pytest.mark.parametrize(
    ("tools", "expected"),
    [
        (
            b'"tools": [ {"type":"web_search" , "x":1.50} ]',
            b'"tools": [ {"type":"web_search" , "x":1.50},' + _OURS + b" ]",
        ),
        (b'"tools":[]', b'"tools":[' + _OURS + b"]"),
        (b'"tools" : null,"x":1', b'"tools" : [' + _OURS + b'],"x":1'),
        (b'"x":1', b'"x":1,"tools":[' + _OURS + b"]"),
    ],
)
def test_tools_are_appended_and_the_others_keep_their_bytes(tools: bytes, expected: bytes) -> None:
    offering = _parsed(tools).offering(TOOLS)

    assert offering.offers
    assert offering.body() == b'{"model":"m",' + expected + b"}"
    assert offering.body() == _parsed(tools).offering(TOOLS).body()


@pytest.mark.parametrize(
    ("schema", "parameters"),
    [
        (b'{"type":"object"}', {"type": "object", "properties": {}}),
        (b'{"properties":{"a":{}},"required":null}', {"properties": {"a": {}}, "type": "object"}),
        (b'{"type":"object","properties":null}', {"type": "object", "properties": {}}),
        (b'{"type":"object","properties":{"a":{}},"required":["a"]}', None),
        (b"[]", {"type": "object", "properties": {}}),
    ],
)
def test_a_schema_is_sent_as_it_is_where_the_provider_takes_it(schema: bytes, parameters: Any) -> None:
    toolset = Toolset([Tool(id="bmcp_a_b", name="b", server="a", schema=schema)])

    offered = json.loads(request_of().offering(toolset).body())["tools"][0]["parameters"]

    assert offered == (parameters or json.loads(schema))


@pytest.mark.parametrize(
    "members",
    [
        {"tool_choice": "none"},
        {"tool_choice": "required"},
        {"tool_choice": "some future word"},
        {"tool_choice": {"type": "function", "name": "own"}},
        {"tool_choice": {"type": "web_search"}},
        {"tool_choice": {"type": "allowed_tools", "mode": "required", "tools": []}},
        {"tool_choice": ["odd"]},
        {"tools": {"odd": 1}},
        {"tools": "odd"},
        {"prompt": {"id": "pmpt_1"}},
    ],
)
def test_some_requests_must_not_carry_tools(members: dict[str, Any]) -> None:
    request = request_of(**members)

    assert request.offering(TOOLS) is request
    assert not request.offers


@pytest.mark.parametrize(
    "members",
    [
        {"tool_choice": "auto"},
        {"tool_choice": None},
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "own"}]}},
        {"prompt": {"id": "pmpt_1"}, "tools": []},
        {"prompt": None},
    ],
)
def test_a_free_choice_carries_them(members: dict[str, Any]) -> None:
    assert request_of(**members).offering(TOOLS).offers


def test_nothing_is_offered_without_tools_nor_for_a_compaction() -> None:
    request, compaction = request_of(), parse_compaction(b'{"model":"m","input":[]}')

    assert request.offering(NO_TOOLS) is request
    assert compaction.offering(TOOLS) is compaction


def test_a_count_of_tokens_carries_them_too() -> None:
    counted = parse(b'{"model":"m","input":"how long?"}').offering(TOOLS).body()

    assert counted == b'{"model":"m","input":"how long?","tools":[' + _OURS + b"]}"


@pytest.mark.parametrize(
    "tool",
    [
        b'{"type":"function","name":"bmcp_mine"}',
        rb'{"type":"function","name":"\u0062mcp_mine"}',
        b'{"type":"custom","name":"bmcp_"}',
        b'{"type":"namespace","name":"bmcp_x","tools":[]}',
        b'{"type":"namespace","name":"x","tools":[{"type":"function","name":"bmcp_mine"}]}',
    ],
)
@pytest.mark.parametrize("choice", [b'"auto"', b'"none"'])
def test_a_tool_of_the_clients_with_our_prefix_is_refused(tool: bytes, choice: bytes) -> None:
    request = _parsed(b'"tool_choice":' + choice + b',"tools":[' + tool + b"]")

    for toolset in (TOOLS, NO_TOOLS):
        with pytest.raises(InvalidRequest) as refused:
            request.offering(toolset)
        assert refused.value.problem.status == 400


def test_a_tool_that_two_parsers_could_read_differently_is_refused() -> None:
    request = _parsed(b'"tools":[{"type":"function","name":"bmcp_mine","name":"mine"}]')

    with pytest.raises(InvalidRequest):
        request.offering(TOOLS)
    with pytest.raises(InvalidRequest):
        _ = request.client_tools


def test_the_clients_tools_are_named_with_their_namespaces() -> None:
    request = request_of(
        tools=[
            {"type": "function", "name": "shell"},
            {"type": "web_search"},
            {"type": "custom", "name": "apply_patch"},
            {"type": "namespace", "name": "mcp__git", "tools": [{"type": "function", "name": "log"}, "odd"]},
            {"type": "function", "name": 7},
            "odd",
        ]
    )

    assert request.client_tools == ("shell", "apply_patch", "mcp__git", "mcp__git.log")
    assert not request.brings_servers
    assert request_of(tools=None).client_tools == ()


@pytest.mark.parametrize(
    "tools",
    [
        [{"type": "mcp", "server_label": "x", "server_url": "https://localhost/x"}],
        [{"type": "function", "name": "a"}, {"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}],
    ],
)
def test_servers_of_the_clients_own_are_noticed(tools: list[Any]) -> None:
    assert request_of(tools=tools).brings_servers


def test_offering_keeps_what_else_was_set() -> None:
    for dialect in (RESPONSES, RESPONSES_COMPACT):
        request = dialect.parse(b'{"model":"m","user":"ada","input":"x"}').attributed_to("person-1")
        assert isinstance(request, ResponsesRequest)
        assert request.offering(TOOLS).body().startswith(b'{"model":"m","user":"person-1","input":"x"')

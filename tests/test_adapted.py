"""Routes with one rule of ours: counts are of what really goes upstream, and stored responses are found where they are."""

import json
from typing import Any

import pytest

from aibridge import providers
from aibridge.dialects.turns import Hidden
from aibridge.ports import HeldFor
from aibridge.routes import RouteTable
from aibridge.stores.conversations import MemoryConversationStore
from aibridge.tool_settings import ToolSettings
from tests.exchanges import MESSAGES, RESPONSES, Exchange
from tests.fakes.asgi import asked
from tests.fakes.house import House, opened, problem
from tests.fakes.interceptions import ADA, BOB
from tests.fakes.toolbox import ScriptedToolbox
from tests.fakes.turns import Call, Says, offered_in, results_in
from tests.fakes.upstream import JSON, Scripted
from tests.test_inner_loop import answered_by_client

pytestmark = pytest.mark.anyio

COUNTING = [(MESSAGES, "/anthropic/v1/messages/count_tokens"), (RESPONSES, "/openai/v1/responses/input_tokens")]
both_counts = pytest.mark.parametrize(("exchange", "path"), COUNTING, ids=["count_tokens", "input_tokens"])
MIXED = Says(1, "Both. ", (Call("call_1"), Call("call_2", "weather", {"city": "Nantes"})))


def answers(house: House, body: bytes = b'{"input_tokens": 7}') -> None:
    house.upstream.answers.append(Scripted((body,), 200, (JSON,)))


def sent(house: House) -> bytes:
    return house.upstream.requests[-1].body


@both_counts
async def test_tokens_are_counted_with_the_tools_that_are_offered(exchange: Exchange, path: str) -> None:
    async with opened(toolbox=ScriptedToolbox()) as house:
        answers(house)
        client = await asked(house.bridge, path, json.dumps(exchange.request).encode())

        assert client.body == b'{"input_tokens": 7}'
        assert set(offered_in(exchange.dialect, sent(house))) == {"weather", "bmcp_wiki_read", "bmcp_wiki_search"}
        assert house.recorder.attempts == []


@both_counts
async def test_tokens_are_counted_with_what_the_client_never_saw(exchange: Exchange, path: str) -> None:
    async with opened(toolbox=ScriptedToolbox()) as house:
        answers(house, MIXED.body(exchange.dialect))
        await asked(house.bridge, f"/{exchange.provider}{exchange.path}", exchange.asked(stream=False))
        answers(house)
        await asked(house.bridge, path, answered_by_client(exchange, stream=False))
        answers(house, Says(2, "Fine.").body(exchange.dialect))
        later = answered_by_client(exchange, stream=False)
        await asked(house.bridge, f"/{exchange.provider}{exchange.path}", later)

        counted, bridged = house.upstream.requests[1].body, house.upstream.requests[2].body
        assert set(results_in(exchange.dialect, counted)) == {"call_1", "call_2"}
        history = "messages" if exchange.dialect == "messages" else "input"
        assert json.loads(counted)[history] == json.loads(bridged)[history]


@both_counts
async def test_what_cannot_be_read_and_what_offers_nothing_is_counted_as_it_came(exchange: Exchange, path: str) -> None:
    async with opened(toolbox=ScriptedToolbox()) as house:
        answers(house)
        await asked(house.bridge, path, b'{"messages": []}')  # without a model, which is the provider's to say
        assert sent(house) == b'{"messages": []}'
    async with opened() as house:
        answers(house)
        body = json.dumps(exchange.request, indent=1).encode()
        await asked(house.bridge, path, body)
        assert sent(house) == body


@both_counts
async def test_what_a_request_must_not_bring_is_not_counted_either(exchange: Exchange, path: str) -> None:
    async with opened(tools=ToolSettings(deny_client_tools=("^weather$",))) as house:
        client = await asked(house.bridge, path, json.dumps(exchange.request).encode())

        assert client.status == 403
        assert "weather" in problem(client)
        assert house.upstream.requests == []


# -- stored responses ----------------------------------------------------------------------------------


async def several_turns(house: House) -> None:
    answers(house, Says(1, "", (Call("call_1"),)).body("responses"))
    answers(house, Says(2, "", (Call("call_2", arguments={"q": "y"}),)).body("responses"))
    answers(house, Says(3, "Fine.").body("responses"))
    client = await asked(house.bridge, "/openai/v1/responses", RESPONSES.asked(stream=False))
    assert json.loads(client.body)["id"] == "resp_1"


@pytest.mark.parametrize(
    ("method", "below"), [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")]
)
async def test_a_response_of_several_turns_is_found_under_its_last_id(method: str, below: str) -> None:
    async with opened(toolbox=ScriptedToolbox()) as house:
        await several_turns(house)
        answers(house)
        client = await asked(house.bridge, f"/openai/v1/responses/resp_1{below}", method=method, query=b"a=b")

        assert client.status == 200
        assert house.upstream.requests[-1].url == f"http://openai.test/v1/responses/resp_3{below}?a=b"
        theirs = await asked(house.bridge, f"/openai/v1/responses/resp_1{below}", method=method, actor=BOB)
        assert theirs.status == 404


async def test_a_request_that_goes_on_from_a_response_goes_on_from_its_last_turn() -> None:
    async with opened(toolbox=ScriptedToolbox()) as house:
        await several_turns(house)
        answers(house, Says(4, "More.").body("responses"))
        body: dict[str, Any] = {"model": "gpt-5", "input": "more", "previous_response_id": "resp_1"}
        client = await asked(house.bridge, "/openai/v1/responses", json.dumps(body).encode())

        assert json.loads(sent(house))["previous_response_id"] == "resp_3"
        assert json.loads(client.body).get("previous_response_id") in (None, "resp_1")
        body["previous_response_id"] = "resp_1"
        answers(house)
        await asked(house.bridge, "/openai/v1/responses/input_tokens", json.dumps(body).encode())
        assert json.loads(sent(house))["previous_response_id"] == "resp_3"
        theirs = await asked(house.bridge, "/openai/v1/responses", json.dumps(body).encode(), actor=BOB)
        assert theirs.status == 404


@pytest.mark.parametrize("last", ["", ".", "..", "a/b", "a%2fb", "x" * 257, "resp\n", "\ud800"])
def test_a_path_is_only_ever_made_of_an_id(last: str) -> None:
    table = RouteTable([providers.openai(key="k")], prefixes=[""])
    route = table.find("GET", b"/openai/v1/responses/resp_1/input_items/")
    assert route is not None

    assert route.below(last) is route
    other = route.below("resp_2")
    assert (other.upstream_url_path, other.params) == ("/responses/resp_2/input_items/", ("resp_2", "input_items"))


async def test_without_anything_held_a_path_is_as_it_came() -> None:
    conversations = MemoryConversationStore()
    await conversations.own("openai", ["resp_1"], ADA.id)
    await conversations.hold(HeldFor(BOB.id, "openai", "responses"), "r", Hidden(("a:b",), b"{}", ("resp_1", "resp_2")))
    async with opened(conversations=conversations) as house:
        answers(house)
        await asked(house.bridge, "/openai/v1/responses/resp_1", method="GET")

        assert house.upstream.requests[-1].url == "http://openai.test/v1/responses/resp_1"

"""Which requests carry injected tools, which are refused for what their clients bring, and what that costs the others."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from aibridge.actor import Actor
from aibridge.dialects.turns import Anchor, Hidden
from aibridge.ports import HeldFor
from aibridge.reply_writer import ReplyWriter
from aibridge.tool_settings import ToolSettings
from tests.exchanges import CHAT, EXCHANGES, MESSAGES, RESPONSES, Exchange
from tests.fakes.client import Client
from tests.fakes.interceptions import ADA, JournalConversations, Stage, stage
from tests.fakes.toolbox import ScriptedToolbox, tool
from tests.fakes.turns import Says, offered_in

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])

OURS = {"bmcp_wiki_read", "bmcp_wiki_search"}
CLAUDE_CODE = [(b"user-agent", b"claude-cli/2.1 (external)")]
SDK = [(b"user-agent", b"Anthropic/Python 1.0")]


async def sent(exchange: Exchange, *, body: bytes | None = None, headers: Any = (), **options: Any) -> Stage:
    scene = stage(exchange, **options)
    scene.answers(Says(1, "Fine.").body(exchange.dialect))
    await scene.run(stream=False, body=body, headers=headers)
    return scene


def ours_in(exchange: Exchange, scene: Stage) -> set[str]:
    [request] = scene.upstream.requests
    return {name for name in offered_in(exchange.dialect, request.body) if name.startswith("bmcp_")}


def request_of(exchange: Exchange, **changes: Any) -> bytes:
    request = {**exchange.request, "stream": False, **changes}
    return json.dumps({name: value for name, value in request.items() if value is not None}).encode()


@every_dialect
async def test_without_a_toolbox_a_request_goes_up_as_it_came(exchange: Exchange) -> None:
    body = request_of(exchange)
    plain = await sent(exchange, body=body, provider={"upstream_user": "off"})

    assert plain.upstream.requests[0].body == body


@every_dialect
async def test_a_provider_that_takes_no_tools_is_offered_none(exchange: Exchange) -> None:
    scene = await sent(exchange, toolbox=ScriptedToolbox(), provider={"offer_tools": False})

    assert ours_in(exchange, scene) == set()


@pytest.mark.parametrize(
    ("model", "tools", "headers", "offered"),
    [
        ("claude-haiku-4-5", False, CLAUDE_CODE, False),
        ("claude-haiku-4-5", True, CLAUDE_CODE, True),
        ("claude-opus-4-6", False, CLAUDE_CODE, True),
        ("claude-haiku-4-5", False, SDK, True),
        ("claude-haiku-4-5", False, (), True),
        ("gpt-5.4-nano", False, [(b"user-agent", b"opencode/1.0")], False),
    ],
)
async def test_small_requests_that_agents_send_beside_a_conversation_carry_none(
    model: str, tools: bool, headers: Any, offered: bool
) -> None:
    toolbox = ScriptedToolbox()
    body = request_of(MESSAGES, model=model, **({} if tools else {"tools": None}))
    scene = await sent(MESSAGES, body=body, headers=headers, toolbox=toolbox)

    assert ours_in(MESSAGES, scene) == (OURS if offered else set())
    assert bool(toolbox.asked) is offered


@every_dialect
async def test_a_clients_tool_with_our_prefix_is_refused_and_on_record(exchange: Exchange) -> None:
    tools: Any = [{"name": "bmcp_mine", "input_schema": {"type": "object"}}]
    if exchange.dialect == "chat_completions":
        tools = [{"type": "function", "function": {"name": "bmcp_mine", "parameters": {}}}]
    elif exchange.dialect == "responses":
        tools = [{"type": "function", "name": "bmcp_mine", "parameters": {}}]
    for options in ({}, {"provider": {"offer_tools": False}}):
        scene = stage(exchange, toolbox=ScriptedToolbox(), **options)
        await scene.run(stream=False, body=request_of(exchange, tools=tools))

        assert scene.client.status == 400
        assert b"bmcp_mine" in scene.client.body
        assert scene.recorder.end.state == "rejected"
        assert scene.upstream.requests == []


# -- how many ------------------------------------------------------------------------------------------


async def test_too_many_tools_are_cut_and_those_left_out_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    toolbox = ScriptedToolbox(*(tool(f"t{number:03}") for number in range(125)))
    with caplog.at_level(logging.WARNING, "aibridge.tools"):
        for _ in range(2):
            scene = await sent(MESSAGES, toolbox=toolbox)
            assert len(ours_in(MESSAGES, scene)) == 120

    [warning] = caplog.records
    assert warning.__dict__["left_out"] == [f"bmcp_wiki_t{number}" for number in range(120, 125)]


@pytest.mark.parametrize("exchange", [CHAT, RESPONSES], ids=["chat_completions", "responses"])
async def test_with_the_clients_own_there_are_never_more_than_openai_takes(exchange: Exchange) -> None:
    def own(number: int) -> Any:
        named = {"name": f"own_{number}", "parameters": {"type": "object"}}
        return {"type": "function", "function": named} if exchange is CHAT else {"type": "function", **named}

    toolbox = ScriptedToolbox(*(tool(f"t{number:03}") for number in range(125)))
    for count, offered in ((5, 120), (28, 100), (128, 0), (200, 0)):
        body = request_of(exchange, tools=[own(number) for number in range(count)])
        scene = await sent(exchange, body=body, toolbox=toolbox)

        assert len(ours_in(exchange, scene)) == offered


# -- what clients may bring ----------------------------------------------------------------------------


def brings(exchange: Exchange) -> bytes:
    if exchange.dialect == "messages":
        return request_of(exchange, mcp_servers=[{"type": "url", "url": "https://mcp.test", "name": "m"}])
    server = {"type": "mcp", "server_label": "m", "server_url": "https://mcp.test"}
    return request_of(exchange, tools=[server])


@pytest.mark.parametrize("exchange", [MESSAGES, RESPONSES], ids=["messages", "responses"])
@pytest.mark.parametrize("toolbox", [None, ScriptedToolbox()], ids=["without tools", "with tools"])
async def test_mcp_servers_of_a_client_are_refused_where_they_are_denied(exchange: Exchange, toolbox: Any) -> None:
    scene = stage(exchange, toolbox=toolbox, tools=ToolSettings(client_mcp="deny"))
    await scene.run(stream=False, body=brings(exchange))
    allowed = await sent(exchange, body=brings(exchange), toolbox=toolbox)
    harmless = await sent(exchange, toolbox=toolbox, tools=ToolSettings(client_mcp="deny"))

    assert scene.client.status == 403
    assert json.loads(scene.client.body)["error"]["type"] == "permission_error"
    assert (scene.recorder.end.state, scene.recorder.end.http_status) == ("rejected", 403)
    assert scene.upstream.requests == []
    assert allowed.client.status == harmless.client.status == 200


@every_dialect
async def test_a_denied_tool_of_a_client_is_refused_and_named(exchange: Exchange) -> None:
    scene = stage(exchange, tools=ToolSettings(deny_client_tools=("^mcp__", "eath")))
    await scene.run(stream=False)

    assert scene.client.status == 403
    assert b"'weather'" in scene.client.body
    assert scene.recorder.end.state == "rejected"


@pytest.mark.parametrize(
    ("client_mcp", "groups", "denied"),
    [
        ("allow", (), False),
        ("deny", (), True),
        ({"guests": "deny"}, ("guests",), True),
        ({"guests": "deny"}, ("math",), False),
        ({"guests": "deny", "math": "allow"}, ("math", "guests"), True),
        ({"*": "deny", "math": "allow"}, ("math",), False),
        ({"*": "deny", "math": "allow"}, ("music",), True),
        ({"*": "deny", "math": "allow"}, (), True),
    ],
)
def test_who_is_denied_is_said_by_group(client_mcp: Any, groups: tuple[str, ...], denied: bool) -> None:
    settings = ToolSettings(client_mcp=client_mcp, deny_client_tools=("^mcp__",))
    actor = Actor(id="a", groups=groups)

    assert settings.denies_servers(actor) is denied
    assert settings.denies_tool("mcp__x", actor) is (denied or client_mcp == "allow")
    assert not settings.denies_tool("x_mcp__", actor)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_turns": 0},
        {"max_repeats": 0},
        {"max_result": 0},
        {"max_offered": 0},
        {"max_time": 0.0},
        {"call_timeout": float("inf")},
        {"keepalive_interval": -1.0},
        {"keepalive": "sometimes"},
        {"client_mcp": "maybe"},
        {"client_mcp": {"guests": "maybe"}},
        {"deny_client_tools": ("(",)},
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ToolSettings(**wrong)


# -- recalling -----------------------------------------------------------------------------------------


class Looked(JournalConversations):
    """Notes who looks for held turns."""

    looks = 0

    async def held(self, held_for: HeldFor, anchors: Sequence[Anchor]) -> Mapping[Anchor, Sequence[Hidden]]:
        self.looks += 1
        return await super().held(held_for, anchors)


async def test_held_turns_are_looked_for_only_where_there_are_some() -> None:
    history: Any = [{"role": "assistant", "content": "Fine."}, {"role": "user", "content": "Go on."}]
    scene = stage(MESSAGES, toolbox=ScriptedToolbox())
    looked = scene.conversations = Looked(scene.journal)
    body = request_of(MESSAGES, messages=[*MESSAGES.request["messages"], *history])
    for held in (False, True):
        if held:
            whose = HeldFor(ADA.id, "anthropic", "messages")
            await looked.hold(whose, "reply-1", Hidden(("call:toolu_9",), b"{}"))
        scene.answers(Says(1, "Fine.").body("messages"))
        await scene.run(stream=False, body=body)
        scene.writer, scene.client = ReplyWriter(Client(scene.journal).send), Client(scene.journal)

        assert looked.looks == held

"""`aibridge serve` with real MCP servers, as a process: SDKs ask, the record says what ran, and a restart forgets nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response

from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from tests.exchanges import DialectName
from tests.fakes.turns import results_in
from tests.house.conversation import Conversation
from tests.mcp.real_servers import Wiki, serving
from tests.server.installation import Installation, Running

pytestmark = pytest.mark.anyio

LOOK_UP = "Use wiki_read to look it up."
SERVER = '[[mcp_servers]]\nname = "{0}"\nurl = "{1}"\nallow_private = true\n'


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    provider = SimulatedProvider()
    async with serve_simulator(provider) as provider_url:
        yield Installation(tmp_path, provider, provider_url)


async def test_every_dialect_and_mode_runs_the_tools_of_a_server_and_the_record_says_so(
    installation: Installation,
) -> None:
    wiki = Wiki()
    asked: list[tuple[DialectName, bool]] = [
        (dialect, stream) for dialect in ("messages", "chat_completions", "responses") for stream in (True, False)
    ]
    async with serving(wiki) as url:
        installation.configure(SERVER.format("wiki", url) + 'deny_tools = "write"\n')
        key = await installation.key(None, "--scope", "use", "--scope", "admin")
        async with installation.serving() as server:
            talks = [Conversation(server.url, *which, key=key, prompt=LOOK_UP) for which in asked]
            for talk in talks:
                async with talk:
                    await talk.ask()
            async with server.client(key) as client:
                (status,) = (await client.get("/api/v2/aibridge/mcp")).json()["results"]
                listed = (await client.get("/api/v2/aibridge/interceptions")).json()["results"]

    assert [name for name, _ in wiki.calls] == ["read"] * 6
    for talk in talks:
        assert '"read simulated topic"' in talk.text
        assert talk.calls == []
        assert "bmcp_" not in str(talk.history)
    assert len(listed) == 6
    for each in listed:
        (usage,) = each["tool_usages"]
        assert (usage["tool"], usage["injected"], usage["server_url"]) == ("read", True, url)
        assert (usage["input"], usage["invocation_error"]) == ({"topic": "simulated topic"}, None)
        assert len(each["token_usages"]) == 2
    assert (status["state"], status["sessions"], status["tools"][0]["id"]) == ("up", 1, "bmcp_wiki_read")


@pytest.mark.parametrize("dialect", ["messages", "chat_completions", "responses"])
async def test_what_a_model_looked_up_before_a_restart_it_still_knows_after_it(
    installation: Installation, dialect: DialectName
) -> None:
    async with serving(Wiki()) as url:
        installation.configure(SERVER.format("wiki", url))
        key = await installation.key()
        async with (
            installation.serving() as server,
            Conversation(server.url, dialect, stream=True, key=key, prompt=LOOK_UP) as talk,
        ):
            await talk.ask()
            server.signal()
            assert await server.ended() == 0
        history = [*talk.history, {"role": "user", "content": "Thanks."}]
        async with (
            installation.serving() as server,
            Conversation(server.url, dialect, stream=True, key=key) as talk,
        ):
            talk.history = list(history)
            await talk.ask()
        bodies = [exchange.body for exchange in installation.provider.ledger]

    first, second, third = (results_in(dialect, body) for body in bodies)
    assert (first, len(second)) == ({}, 1)
    assert third == second
    assert "read simulated topic" in str(second)
    assert "bmcp_" not in str(history)


async def test_a_response_that_a_tool_ran_for_is_gone_on_with_by_its_id_after_a_restart_too(
    installation: Installation,
) -> None:
    """The client knows the id of the first turn; what the provider must go on from is the last one."""

    async def respond(server: Running, **asked: Any) -> Response:
        async with AsyncOpenAI(base_url=f"{server.url}/openai/v1", api_key=key, max_retries=0) as openai:
            response: Response = await openai.responses.create(model="gpt-4.1", **asked)
            return response

    async with serving(Wiki()) as url:
        installation.configure(SERVER.format("wiki", url))
        key = await installation.key()
        async with installation.serving() as server:
            first = await respond(server, input=LOOK_UP)
            server.signal()
            assert await server.ended() == 0
        async with installation.serving() as server:
            second = await respond(server, input="Thanks.", previous_response_id=first.id)
            third = await respond(server, input="Good night.", previous_response_id=second.id)
    turns = installation.provider.ledger
    went_on_from = [msgspec.json.decode(turn.body).get("previous_response_id") for turn in turns]

    assert "read simulated topic" in first.output_text
    assert len(turns) == 4
    assert first.id == turns[0].response_id
    assert went_on_from[2:] == [turns[1].response_id, turns[2].response_id]
    assert (second.id, third.id) == (turns[2].response_id, turns[3].response_id)
    assert (second.previous_response_id, third.previous_response_id) == (first.id, second.id)


async def test_servers_that_are_down_cost_neither_the_start_nor_a_request_anything(installation: Installation) -> None:
    installation.configure("".join(SERVER.format(f"down{number}", "http://127.0.0.1:9/") for number in range(20)))
    key = await installation.key(None, "--scope", "use", "--scope", "admin")
    async with installation.serving() as server:
        async with (
            asyncio.timeout(4),  # the wait for a list that was never read is five seconds
            Conversation(server.url, "messages", stream=True, key=key) as talk,
        ):
            await talk.ask()
        async with server.client(key) as client:
            servers = (await client.get("/api/v2/aibridge/mcp")).json()["results"]

    assert talk.text != ""
    assert {each["state"] for each in servers} == {"down"}

"""The whole product with a real MCP server: SDKs ask in every dialect and mode, and get the answer as if the model had known."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from tests.mcp.real_servers import Wiki, serving
from tests.server.installation import Installation, Running

pytestmark = pytest.mark.anyio

PROMPT = "Use a tool to look it up"


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    provider = SimulatedProvider()
    async with serve_simulator(provider) as provider_url:
        yield Installation(tmp_path, provider, provider_url)


async def messages(server: Running, key: str, *, stream: bool) -> Any:
    client = AsyncAnthropic(base_url=f"{server.url}/anthropic", auth_token=key, max_retries=0)
    asked: Any = {"model": "claude-opus-5-5", "max_tokens": 500, "messages": [{"role": "user", "content": PROMPT}]}
    async with client:
        if not stream:
            return await client.messages.create(**asked)
        async with client.messages.stream(**asked) as events:
            return await events.get_final_message()


async def chat(server: Running, key: str, *, stream: bool) -> Any:
    client = AsyncOpenAI(base_url=f"{server.url}/openai/v1", api_key=key, max_retries=0)
    asked: Any = {"model": "gpt-4.1", "messages": [{"role": "user", "content": PROMPT}]}
    async with client:
        if not stream:
            return await client.chat.completions.create(**asked)
        async with client.chat.completions.stream(**asked) as events:
            return await events.get_final_completion()


async def responses(server: Running, key: str, *, stream: bool) -> Any:
    client = AsyncOpenAI(base_url=f"{server.url}/openai/v1", api_key=key, max_retries=0)
    asked: Any = {"model": "gpt-4.1", "input": PROMPT}
    async with client:
        if not stream:
            return await client.responses.create(**asked)
        async with client.responses.stream(**asked) as events:
            return await events.get_final_response()


async def test_every_dialect_and_mode_runs_the_tools_of_a_server_and_the_record_says_so(
    installation: Installation,
) -> None:
    wiki = Wiki()
    async with serving(wiki) as url:
        installation.configure(
            f'[[mcp_servers]]\nname = "wiki"\nurl = "{url}"\nallow_private = true\ndeny_tools = "write"\n'
        )
        key = await installation.key(None, "--scope", "use", "--scope", "admin")
        async with installation.serving() as server:
            replies = {
                (ask.__name__, stream): await ask(server, key, stream=stream)
                for ask in (messages, chat, responses)
                for stream in (False, True)
            }
            async with server.client(key) as client:
                (status,) = (await client.get("/api/v2/aibridge/mcp")).json()["results"]
                listed = (await client.get("/api/v2/aibridge/interceptions")).json()["results"]

    assert len(wiki.calls) == 6
    assert {name for name, _ in wiki.calls} == {"read"}
    for which, reply in replies.items():
        shown = reply.model_dump_json()
        assert '"name":"bmcp_' not in shown, which  # the simulated model says the id in words; calls are hidden
        assert "read simulated topic" in shown, which  # what the tool gave back, in the model's words
    assert len(listed) == 6
    for each in listed:
        (usage,) = each["tool_usages"]
        assert (usage["tool"], usage["injected"], usage["server_url"]) == ("read", True, url)
        assert usage["invocation_error"] is None
        assert len(each["token_usages"]) == 2
    assert (status["state"], status["sessions"], status["tools"][0]["id"]) == ("up", 1, "bmcp_wiki_read")


async def test_servers_that_are_down_cost_neither_the_start_nor_a_request_anything(installation: Installation) -> None:
    down = '[[mcp_servers]]\nname = "down{0}"\nurl = "http://127.0.0.1:9/"\nallow_private = true\n'
    installation.configure("".join(map(down.format, range(20))))
    key = await installation.key(None, "--scope", "use", "--scope", "admin")
    async with installation.serving() as server:
        async with asyncio.timeout(4):  # the wait for a list that was never read is five seconds
            reply = await messages(server, key, stream=True)
        async with server.client(key) as client:
            servers = (await client.get("/api/v2/aibridge/mcp")).json()["results"]

    assert [block.type for block in reply.content] == ["text"]
    assert {each["state"] for each in servers} == {"down"}

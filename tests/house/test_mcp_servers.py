"""The gateway with real MCP servers: SDKs ask in every dialect and mode, and whatever a server does, they get an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import mcp_types as types
import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from aibridge.mcp import McpToolbox
from aibridge.records import ToolUsageRecord
from aibridge.server.demo.simulator import ScriptedAnswer
from aibridge.tool_settings import ToolSettings
from tests.exchanges import DialectName
from tests.fakes.turns import Call, Says, offered_in, results_in
from tests.house.conversation import Conversation
from tests.house.in_process import InProcess, in_process
from tests.mcp.real_servers import Wiki, at, serving, text
from tests.test_keep_alive import frames_elsewhere

pytestmark = pytest.mark.anyio

DIALECTS: tuple[DialectName, ...] = ("messages", "chat_completions", "responses")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
LOOK_UP = "Use wiki_read to look it up."


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the server runs."""
    return "asyncio", {"use_uvloop": True}


@dataclass(frozen=True)
class Scene:
    """A gateway before a simulated provider and a real MCP server. `leave` ends the server, with its connections."""

    house: InProcess
    wiki: Wiki
    leave: Callable[[], Awaitable[None]]

    @property
    def bodies(self) -> list[bytes]:
        return [exchange.body for exchange in self.house.provider.ledger]

    @property
    def calls(self) -> list[ToolUsageRecord]:
        return self.house.recorder.tool_usages

    async def ask(self, dialect: DialectName, stream: bool, *, prompt: str = LOOK_UP, patience: float = 30.0) -> str:
        """What the client gets to read; it sees no call and no id of ours."""
        async with Conversation(self.house.url, dialect, stream, prompt=prompt, patience=patience) as talk:
            await talk.ask()
        assert talk.calls == []
        assert "bmcp_" not in str(talk.history)
        return talk.text


@asynccontextmanager
async def scene(**tools: Any) -> AsyncIterator[Scene]:
    wiki = Wiki()
    async with AsyncExitStack() as stack:
        living = AsyncExitStack()
        stack.push_async_callback(living.aclose)
        url = await living.enter_async_context(serving(wiki))
        toolbox = await stack.enter_async_context(McpToolbox([at(url)]))
        house = await stack.enter_async_context(in_process(toolbox=toolbox, tools=ToolSettings(**tools)))
        yield Scene(house, wiki, living.aclose)


@every_dialect
@both_modes
async def test_a_model_knows_what_a_server_knows(dialect: DialectName, stream: bool) -> None:
    async with scene() as stage:
        said = await stage.ask(dialect, stream)

    assert '"read simulated topic"' in said
    assert stage.wiki.calls == [("read", {"topic": "simulated topic"})]
    [used] = stage.calls
    assert (used.tool, used.injected, used.input, used.invocation_error) == (
        "read",
        True,
        {"topic": "simulated topic"},
        None,
    )
    assert used.server_url is not None
    assert used.server_url.endswith("/mcp")
    assert len(stage.house.recorder.token_usages) == 2


@every_dialect
@both_modes
async def test_two_calls_of_one_tool_in_one_turn_both_run_and_each_has_its_result(
    dialect: DialectName, stream: bool
) -> None:
    both = asyncio.Barrier(2)

    async def together(arguments: dict[str, Any]) -> types.CallToolResult:
        await both.wait()
        return text(f"page on {arguments['topic']}")

    async with scene() as stage:
        stage.wiki.answers["read"] = together
        said = await stage.ask(dialect, stream, prompt="Use wiki_read twice, in parallel.")

    assert '"page on simulated topic"' in said
    assert '"page on simulated topic 2"' in said
    results = sorted(results_in(dialect, stage.bodies[1]).values())
    assert ["page on simulated topic 2" in each for each in results].count(True) == 1
    assert ["page on simulated topic" in each for each in results] == [True, True]
    assert [used.invocation_error for used in stage.calls] == [None, None]


@every_dialect
@both_modes
async def test_a_client_that_has_tools_too_gets_its_call_and_the_model_both_results(
    dialect: DialectName, stream: bool
) -> None:
    async with scene() as stage:
        prompt = "Use wiki_read and the weather tool in parallel."
        async with Conversation(stage.house.url, dialect, stream, prompt=prompt) as talk:
            await talk.ask()
            calls = list(talk.calls)
            await talk.ask()

    assert calls == ["weather"]
    assert talk.calls == []
    assert '"read simulated topic' in talk.text
    assert '"sunny"' in talk.text
    assert "bmcp_" not in str(talk.history)
    assert {(used.tool, used.injected) for used in stage.calls} == {("read", True), ("weather", False)}
    assert len(stage.calls) == 2
    assert len(results_in(dialect, stage.bodies[1])) == 2


@every_dialect
@both_modes
async def test_a_tool_that_fails_tells_the_model_why_and_the_answer_comes(dialect: DialectName, stream: bool) -> None:
    async def fails(_: dict[str, Any]) -> types.CallToolResult:
        return text("no such page", error=True)

    async with scene() as stage:
        stage.wiki.answers["read"] = fails
        said = await stage.ask(dialect, stream)

    assert "no such page" in said
    assert [used.invocation_error for used in stage.calls] == ["no such page"]
    assert (b'"is_error":true' in stage.bodies[1]) == (dialect == "messages")
    assert stage.house.recorder.ends[0].state == "completed"


@every_dialect
@both_modes
async def test_a_server_that_dies_in_mid_call_costs_the_call_and_not_the_answer(
    dialect: DialectName, stream: bool
) -> None:
    called = asyncio.Event()

    async def never(_: dict[str, Any]) -> types.CallToolResult:
        called.set()
        await asyncio.Event().wait()
        return text()

    async with scene() as stage:
        stage.wiki.answers["read"] = never
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            asking = group.create_task(stage.ask(dialect, stream))
            await called.wait()
            await stage.leave()

    assert "The call failed" in asking.result()
    [used] = stage.calls
    assert used.invocation_error is not None
    assert stage.house.recorder.ends[0].state == "completed"


async def _flood() -> AsyncIterator[bytes]:
    yield b'{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text","text":"'
    for _ in range(800):
        yield b"x" * 65536
        await asyncio.sleep(0)  # or nobody would notice that the client is gone


@every_dialect
@both_modes
async def test_a_result_of_fifty_megabytes_is_a_failed_call(dialect: DialectName, stream: bool) -> None:
    def flooding(request: Request) -> Response | None:
        is_call = request.headers.get("mcp-method") == "tools/call"
        return StreamingResponse(_flood(), media_type="application/json") if is_call else None

    async with scene() as stage:
        stage.wiki.before = flooding
        said = await stage.ask(dialect, stream)

    assert "larger than" in said
    [used] = stage.calls
    assert used.invocation_error is not None
    assert len(stage.bodies[1]) < 10_000


@every_dialect
@both_modes
async def test_a_model_that_calls_without_end_is_asked_once_more_without_tools(
    dialect: DialectName, stream: bool
) -> None:
    async with scene(max_turns=4) as stage:
        kind = b"text/event-stream" if stream else b"application/json"
        for number in range(1, 5):
            turn = Says(number, "", (Call(f"call_{number}", "bmcp_wiki_read", {"topic": f"page {number}"}),))
            body = turn.stream(dialect) if stream else turn.body(dialect)
            stage.house.provider.script(ScriptedAnswer(headers=[(b"content-type", kind)], steps=(body,)))
        said = await stage.ask(dialect, stream)

    assert len(stage.wiki.calls) == 3
    assert len(stage.bodies) == 5
    assert "limit" in results_in(dialect, stage.bodies[4])["call_4"]
    assert "The tool answered" in said
    assert [used.invocation_error is None for used in stage.calls] == [True, True, True, False]
    assert set(offered_in(dialect, stage.bodies[4])) == set(offered_in(dialect, stage.bodies[0]))


@every_dialect
async def test_an_sdk_waits_through_a_slow_server(dialect: DialectName) -> None:
    """An SDK gives up after half a second without a byte; the server takes more than twice that."""

    async def slow(_: dict[str, Any]) -> types.CallToolResult:
        await frames_elsewhere(120, every=0.01)
        return text("late, but whole")

    async with scene(keepalive_interval=0.05) as stage:
        stage.wiki.answers["read"] = slow
        said = await stage.ask(dialect, stream=True, patience=0.5)

    assert "late, but whole" in said

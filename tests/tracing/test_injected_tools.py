"""The spans of an inner loop: one for each turn upstream, one for each call, below the request that they belong to."""

from typing import Any

import pytest

from aibridge.tools import Tool
from tests.exchanges import EXCHANGES, Exchange
from tests.fakes.asgi import asked
from tests.fakes.house import House, path_of
from tests.fakes.toolbox import ScriptedToolbox, breaks, fails, tool
from tests.fakes.turns import Call, Says
from tests.fakes.upstream import JSON, Scripted
from tests.tracing.collector import Collector, collecting
from tests.tracing.test_trees import ENDED, PROMPTED, TOKENS, TOOL, UPSTREAM, intercepted, root_of, traced

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
CALLED: Any = ("Intercept.ProcessRequest.ToolCall", ())


async def one_loop(collector: Collector, exchange: Exchange, toolbox: ScriptedToolbox, *calls: Call) -> None:
    async with traced(collector, bridge={"toolbox": toolbox}) as house:
        for turn in (Says(1, "", calls), Says(2, "Fine.")):
            _answer(house, turn.body(exchange.dialect))
        client = await asked(house.bridge, path_of(exchange), exchange.asked(stream=False))
    assert client.status == 200


def _answer(house: House, body: bytes) -> None:
    house.upstream.answers.append(Scripted((body,), 200, (JSON,)))


@every_dialect
async def test_each_turn_and_each_call_is_a_span_of_the_request(exchange: Exchange) -> None:
    with collecting() as collector:
        await one_loop(collector, exchange, ScriptedToolbox(), Call("call_1"), Call("call_2", "bmcp_wiki_read"))

        root = root_of(collector)
        turn = (UPSTREAM, PROMPTED, TOKENS, CALLED, CALLED, TOOL, TOOL, UPSTREAM, TOKENS, ENDED)
        assert collector.tree(root) == intercepted(*turn)
        assert collector.failed() == []
        first, second = (span for span in collector.spans if span.name == "Intercept.ProcessRequest.Upstream")
        assert [span.attributes["gen_ai.response.id"] for span in (first, second)] == [
            Says(number).id(exchange.dialect) for number in (1, 2)
        ]
        assert first.end <= second.start


async def test_a_call_says_where_and_what_and_only_the_beginning_of_its_arguments() -> None:
    long = {"q": "x" * 200}
    with collecting() as collector:
        await one_loop(collector, EXCHANGES[0], ScriptedToolbox(), Call("call_1", arguments=long))

        span = collector.named("Intercept.ProcessRequest.ToolCall")
        attributes = dict(span.attributes)
        written = attributes.pop("mcp_tool_input")
        assert written.startswith('{"q"')
        assert len(written) == 100
        assert attributes == {
            "gen_ai.tool.name": "search",
            "gen_ai.tool.call.id": "call_1",
            "mcp_server": "wiki",
            "mcp_server_url": "https://wiki.test/mcp",  # without the key in its query
        }


@pytest.mark.parametrize(("does", "error"), [(fails, "tool_error"), (breaks, "ZeroDivisionError")])
async def test_a_call_that_fails_is_a_failed_span_of_a_request_that_did_not(does: Any, error: str) -> None:
    toolbox = ScriptedToolbox()
    toolbox.does["search"] = does
    with collecting() as collector:
        await one_loop(collector, EXCHANGES[0], toolbox, Call("call_1"))

        assert collector.failed() == [f"Intercept.ProcessRequest.ToolCall: {error}"]


async def test_a_process_of_this_machine_has_no_address() -> None:
    local = Tool(id="bmcp_files_list", name="list", server="files")
    with collecting() as collector:
        await one_loop(collector, EXCHANGES[0], ScriptedToolbox(local, tool("search")), Call("c", "bmcp_files_list"))

        attributes = collector.named("Intercept.ProcessRequest.ToolCall").attributes
        assert (attributes["mcp_server"], attributes["mcp_server_url"]) == ("files", "")

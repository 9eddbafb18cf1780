"""The spans of an inner loop: one for each turn upstream, one for each call, below the request that they belong to."""

import asyncio
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from starlette.responses import Response

from aibridge.mcp import McpToolbox
from aibridge.tools import Tool
from aibridge.tracing import Tracing
from tests.exchanges import EXCHANGES, Exchange
from tests.fakes.asgi import asked
from tests.fakes.house import House, opened, path_of
from tests.fakes.toolbox import ScriptedToolbox, breaks, fails, tool
from tests.fakes.turns import Call, Says
from tests.fakes.upstream import EVENT_STREAM, JSON, Scripted
from tests.mcp.real_servers import Wiki, at, serving
from tests.tracing.collector import Collector, Span, Tree, collecting
from tests.tracing.test_trees import ENDED, MODES, PROMPTED, TOKENS, TOOL, UPSTREAM, intercepted, root_of, traced

pytestmark = pytest.mark.anyio

LISTED: Any = ("ServerProxyManager.Init", ())
CALLED: Any = ("Intercept.ProcessRequest.ToolCall", ())
FETCHED: Any = ("StreamableHTTPServerProxy.Init.fetchTools", ())
CONNECTED: Any = ("StreamableHTTPServerProxy.Init", (FETCHED,))


async def one_loop(
    collector: Collector, exchange: Exchange, toolbox: ScriptedToolbox, *calls: Call, stream: bool = False
) -> None:
    async with traced(collector, bridge={"toolbox": toolbox}) as house:
        for turn in (Says(1, "", calls), Says(2, "Fine.")):
            _answer(house, turn, exchange, stream=stream)
        client = await asked(house.bridge, path_of(exchange), exchange.asked(stream=stream))
    assert client.status == 200


def _answer(house: House, turn: Says, exchange: Exchange, *, stream: bool) -> None:
    said = turn.stream(exchange.dialect) if stream else turn.body(exchange.dialect)
    house.upstream.answers.append(Scripted((said,), 200, (EVENT_STREAM if stream else JSON,)))


@pytest.mark.parametrize(("exchange", "stream"), MODES)
async def test_each_turn_and_each_call_is_a_span_of_the_request(exchange: Exchange, stream: bool) -> None:
    calls = (Call("call_1"), Call("call_2", "bmcp_wiki_read"))
    with collecting() as collector:
        await one_loop(collector, exchange, ScriptedToolbox(), *calls, stream=stream)

        root = root_of(collector)
        turn = (LISTED, UPSTREAM, PROMPTED, TOKENS, CALLED, CALLED, TOOL, TOOL, UPSTREAM, TOKENS, ENDED)
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


# -- the servers ---------------------------------------------------------------------------------------


async def two_requests(collector: Collector, url: str, **options: Any) -> list[Tree]:
    """What two requests of one person have below their lists of tools, over real MCP."""
    provider = TracerProvider(**options)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{collector.url}/v1/traces")))
    tracing = Tracing(provider)
    async with (
        McpToolbox([at(url)], connecting=tracing) as toolbox,
        opened(tracing=tracing, toolbox=toolbox) as house,
    ):
        for _ in range(2):
            house.answers(EXCHANGES[0])
            client = await asked(house.bridge, path_of(EXCHANGES[0]), EXCHANGES[0].asked(stream=False))
            assert client.status == 200
    await asyncio.to_thread(provider.shutdown)
    return [collector.tree(span) for span in sorted(collector.spans, key=start_of) if span.name == LISTED[0]]


def start_of(span: Span) -> int:
    return span.start


async def test_connecting_to_a_server_is_below_the_request_that_had_to_wait_for_it() -> None:
    wiki = Wiki()
    async with serving(wiki) as url:
        with collecting() as collector:
            first, second = await two_requests(collector, url + "?key=sesame")

            assert first == (LISTED[0], (CONNECTED,))
            assert second == LISTED
            connected = collector.named(CONNECTED[0])
            assert connected.attributes == {"mcp_server": "wiki", "mcp_server_url": url}
            assert connected.kind == "CLIENT"
            assert collector.failed() == []
            assert not any(b"sesame" in sent for sent in collector.raw)


async def test_a_server_that_is_not_there_fails_its_own_span_and_nobodys_request() -> None:
    wiki = Wiki()
    wiki.before = lambda _: Response("secrets of the wiki", 503)
    async with serving(wiki) as url:
        with collecting() as collector:
            first, _ = await two_requests(collector, url)

            assert first == (LISTED[0], ((CONNECTED[0], ()),))
            (failed,) = collector.failed()
            assert failed.startswith("StreamableHTTPServerProxy.Init: ")
            assert not any(b"secrets of the wiki" in sent for sent in collector.raw)


async def test_of_a_request_that_the_sampler_leaves_out_no_connection_is_followed_either() -> None:
    async with serving(Wiki()) as url:
        with collecting() as collector:
            await two_requests(collector, url, sampler=ParentBased(ALWAYS_OFF))

            assert collector.spans == []

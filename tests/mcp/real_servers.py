"""Real MCP servers of the official Python SDK on loopback, in every era and transport, with tools that a test scripts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.shared.exceptions import MCPError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from aibridge.actor import Actor
from aibridge.mcp import McpServer, McpToolbox
from aibridge.ports import Identity
from aibridge.server.demo.simulator.serving import serve_simulator
from aibridge.tools import Text, ToolCall, ToolResult, Toolset

Era = Literal["modern", "sessions", "stateless", "sse"]
Answer = Callable[[dict[str, Any]], Awaitable[types.CallToolResult | types.InputRequiredResult]]
SCHEMA = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}
ALICE = Identity(Actor(id="alice", groups=("people",)), [], b"")
BOB = Identity(Actor(id="bob", groups=("others",)), [], b"")


def tool(name: str, description: str = "Reads.", schema: dict[str, Any] | None = None) -> types.Tool:
    return types.Tool(name=name, description=description, input_schema=schema or SCHEMA)


def text(*parts: str, error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=part) for part in parts], is_error=error)


class Wiki:
    """The tools of a server, and what was asked of it. `pages` cuts its list."""

    def __init__(self, *tools: types.Tool, page: int = 100) -> None:
        self.tools: list[types.Tool] = list(tools) or [tool("read"), tool("write")]
        self.page = page
        self.lists = 0
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Answer] = {}
        self.requests: list[Request] = []
        self.before: Callable[[Request], Response | None] | None = None
        self.gate = asyncio.Event()  # what every HTTP request waits for
        self.gate.set()

    async def asked(self, request: Request) -> None:
        """Before anything is done with a request."""
        await self.gate.wait()

    async def list_tools(self, _: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        self.lists += 1
        start = int(params.cursor) if params is not None and params.cursor else 0
        end = start + self.page
        return types.ListToolsResult(
            tools=self.tools[start:end], next_cursor=str(end) if end < len(self.tools) else None
        )

    async def call_tool(
        self, _: Any, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        arguments = params.arguments or {}
        self.calls.append((params.name, arguments))
        answer = self.answers.get(params.name)
        if answer is not None:
            return await answer(arguments)
        if params.name not in {each.name for each in self.tools}:
            raise MCPError(types.INVALID_PARAMS, f"unknown tool {params.name}")
        return text(f"{params.name} {arguments.get('topic', '')}".rstrip())

    def server(self) -> Server[Any]:
        return Server("wiki", on_list_tools=self.list_tools, on_call_tool=self.call_tool)


def app_of(wiki: Wiki, era: Era, *, json_response: bool = False) -> Starlette:
    server = wiki.server()
    if era == "sse":
        sse = SseServerTransport("/messages/")

        async def connect(request: Request) -> Response:
            streams = sse.connect_sse(request.scope, request.receive, request._send)
            async with streams as (read, write):
                await server.run(read, write, server.create_initialization_options())
            return Response()

        return Starlette(
            routes=[Route("/mcp", connect, methods=["GET"]), Mount("/messages/", app=sse.handle_post_message)]
        )
    return server.streamable_http_app(json_response=json_response, stateless_http=era == "stateless")


@asynccontextmanager
async def serving(wiki: Wiki, era: Era = "modern", *, json_response: bool = False, port: int = 0) -> AsyncIterator[str]:
    """Serves the wiki; its URL. A server of before 2026 does not know `server/discover`."""
    app = app_of(wiki, era, json_response=json_response)

    async def asked(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        wiki.requests.append(request)
        await wiki.asked(request)
        if wiki.before is not None and (response := wiki.before(request)) is not None:
            await response(scope, receive, send)
            return
        if era in ("modern", "sse") or request.method != "POST":
            await app(scope, receive, send)
            return
        body = await request.body()
        if b"server/discover" in body:
            await Response("Bad Request: no valid session ID provided", 400)(scope, receive, send)
            return

        async def again() -> Any:
            nonlocal body
            if body:
                message = {"type": "http.request", "body": body, "more_body": False}
                body = b""
                return message
            return await receive()

        await app(scope, again, send)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.router.lifespan_context(app))
        base = await stack.enter_async_context(serve_simulator(asked, port=port))
        yield f"{base}/mcp"


def at(url: str, name: str = "wiki", **settings: Any) -> McpServer:
    return McpServer(name=name, url=url, allow_private=True, **settings)


def names(toolset: Toolset) -> list[str]:
    return [each.name for each in toolset.tools]


def call(tool_id: str, arguments: str = '{"topic": "cats"}') -> ToolCall:
    return ToolCall(call_id="call-1", tool_id=tool_id, arguments=arguments)


def said(result: ToolResult) -> Sequence[str]:
    return [part.text for part in result.content if isinstance(part, Text)]


def no_task_runs(toolbox: McpToolbox) -> bool:
    """Whether nothing is connected, nor trying to be."""
    return toolbox._sessions is not None and not toolbox._sessions._tasks

"""The demo's MCP server, of the official SDK: a made-up company's tickets and people, the same in every demo.

The SDK takes half a second to import. It is loaded in a thread while the gateway starts, which needs most of it too;
who connects before is answered when it is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aibridge.server.demo.simulator import serve_simulator
from aibridge.server.demo.simulator.delivery import Receive, Scope, Send

if TYPE_CHECKING:
    from starlette.applications import Starlette

NAME = "helpdesk"
_TICKETS = {
    17: ("The printer on floor 3 is out of toner", "open", "Grace Hopper"),
    23: ("The door of the bicycle cellar sticks", "in progress", "Alan Turing"),
    42: ("The coffee machine shows a question mark", "closed", "Ada Lovelace"),
}
_PEOPLE = {
    "Ada Lovelace": "floor 1, room 1.07, extension 107",
    "Alan Turing": "floor 2, room 2.11, extension 211",
    "Grace Hopper": "floor 3, room 3.14, extension 314",
}
_TOOLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "find_ticket",
        "Tell what a ticket is about, how it stands, and who works on it.",
        {"number": {"type": "integer", "description": "The ticket's number, for example 17."}},
    ),
    (
        "find_person",
        "Tell where a colleague sits.",
        {"name": {"type": "string", "description": "First and last name."}},
    ),
)


class Helpdesk:
    """The server's ASGI application. `loaded` is set when the SDK is."""

    def __init__(self) -> None:
        self.loaded = asyncio.Event()
        self._app: Starlette | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.loaded.wait()
        assert self._app is not None
        await self._app(scope, receive, send)

    async def run(self) -> None:
        """Serves what is asked until it is cancelled."""
        app = await asyncio.to_thread(_made)
        async with app.router.lifespan_context(app):
            self._app = app
            self.loaded.set()
            await asyncio.Event().wait()


@asynccontextmanager
async def served_helpdesk() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Its URL on loopback, and the event that says that it answers."""
    helpdesk = Helpdesk()
    async with serve_simulator(helpdesk) as base_url, asyncio.TaskGroup() as group:
        running = group.create_task(helpdesk.run())
        yield f"{base_url}/mcp", helpdesk.loaded
        running.cancel()


def found(tool: str, arguments: dict[str, Any]) -> str | None:
    """What the helpdesk says; None: it knows no such thing."""
    if tool == "find_ticket":
        ticket = _TICKETS.get(arguments.get("number", 0))
        if ticket is None:
            return None
        subject, state, person = ticket
        return f"Ticket {arguments['number']}: {subject}. It is {state}, assigned to {person}."
    name = str(arguments.get("name", ""))
    place = _PEOPLE.get(name)
    return None if place is None else f"{name} sits on {place}."


def _made() -> Starlette:
    # The toolbox of the gateway loads this in a thread of its own: two threads that begin with the same module wait for
    # each other in order, where imports from two ends meet halfway, and one of them fails as a deadlock. A call, since
    # import statements are sorted, and this must come before those of the SDK.
    import_module("aibridge.mcp.sessions")
    import mcp_types  # noqa: PLC0415  slow to import
    from mcp.server.lowlevel import Server  # noqa: PLC0415  as above

    async def list_tools(_context: Any, _page: mcp_types.PaginatedRequestParams | None) -> mcp_types.ListToolsResult:
        return mcp_types.ListToolsResult(
            tools=[
                mcp_types.Tool(
                    name=name,
                    description=description,
                    input_schema={"type": "object", "properties": properties, "required": list(properties)},
                )
                for name, description, properties in _TOOLS
            ]
        )

    async def call_tool(_context: Any, asked: mcp_types.CallToolRequestParams) -> mcp_types.CallToolResult:
        said = found(asked.name, asked.arguments or {})
        text = said or f"The helpdesk knows no such {asked.name.removeprefix('find_')}."
        return mcp_types.CallToolResult(content=[mcp_types.TextContent(text=text)], is_error=said is None)

    server: Server[Any] = Server(NAME, on_list_tools=list_tools, on_call_tool=call_tool)
    return server.streamable_http_app()

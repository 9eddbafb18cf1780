"""The one tool that stands for a server's others while somebody has not logged in there (`announce_login`).

Whoever calls it is told where the person logs in. It is known by being equal to what was offered, not by its name: a
server may have a tool `login` of its own.
"""

from __future__ import annotations

import hashlib

import msgspec

from aibridge.mcp.naming import ids_of
from aibridge.mcp.offers import Offer
from aibridge.mcp.servers import McpServer
from aibridge.tools import Text, Tool, ToolResult

_NAME = "login"
_LOGGED_IN = "The person has logged in. The tools of this server are offered from the next request on."


def login_tool(server: McpServer) -> Tool:
    return Tool(
        id=ids_of(server.name, [_NAME])[_NAME],
        name=_NAME,
        server=server.name,
        server_url=server.shown_url,
        description=(
            f"The tools of the MCP server {server.name} are there once the user has logged in to it. Call this where they"
            " are needed: it gives the link that the user has to open. Show the link to the user."
        ),
        schema=b'{"type":"object","properties":{}}',
    )


def login_offer(server: McpServer) -> Offer:
    """What is offered of `server` to somebody who has not logged in."""
    tool = login_tool(server)
    return Offer(hashlib.sha256(msgspec.json.encode(["login", tool])).digest(), (tool,), (), {})


def login_result(call_id: str, server: McpServer, missing: str | None) -> ToolResult:
    """What a call of it gives: `missing` are the words of the server's authorization."""
    said = _LOGGED_IN if missing is None else f"The MCP server {server.name} cannot be used yet: {missing}"
    return ToolResult(call_id=call_id, content=(Text(said),))

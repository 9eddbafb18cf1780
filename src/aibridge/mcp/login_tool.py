"""The one tool that stands for a server's others while somebody is not let in there (`announce_login`).

Whoever calls it is told where the person logs in, or with what to come. It is known by being equal to what was offered, not by its name: a
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
_BY_LINK = (
    "The tools of the MCP server {} are there once the user has logged in to it. Call this where they are needed: it gives"
    " the link that the user has to open. Show the link to the user."
)
_BY_SIGN_IN = (
    "The tools of the MCP server {} are not there, since it is not told who the user is. Call this where they are needed:"
    " it says what the user has to do. Tell the user."
)
_LET_IN = "The person is let in now. The tools of this server are offered from the next request on."
_LOGGED_IN = "The person has logged in. The tools of this server are offered from the next request on."


def login_tool(server: McpServer) -> Tool:
    return Tool(
        id=ids_of(server.name, [_NAME])[_NAME],
        name=_NAME,
        server=server.name,
        server_url=server.shown_url,
        description=(_BY_SIGN_IN if server.auth == "caller" else _BY_LINK).format(server.name),
        schema=b'{"type":"object","properties":{}}',
    )


def login_offer(server: McpServer) -> Offer:
    """What is offered of `server` to somebody who is not let in."""
    tool = login_tool(server)
    return Offer(hashlib.sha256(msgspec.json.encode(["login", tool])).digest(), (tool,), (), {})


def login_result(call_id: str, server: McpServer, missing: str | None) -> ToolResult:
    """What a call of it gives: `missing` are the words of the server's authorization."""
    good = _LET_IN if server.auth == "caller" else _LOGGED_IN
    said = good if missing is None else f"The MCP server {server.name} cannot be used yet: {missing}"
    return ToolResult(call_id=call_id, content=(Text(said),))

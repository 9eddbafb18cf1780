"""Injected tools over MCP servers (extra `mcp`): the only place that knows the SDK.

A host makes an `McpToolbox` of `McpServer` values, enters it, and gives it to its bridge. Names are loaded when they
are first used: the SDK takes a third of a second, and a configuration is read without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aibridge.mcp.authorization import Authorization as Authorization
    from aibridge.mcp.authorization import NotAuthorized as NotAuthorized
    from aibridge.mcp.pins import MemoryPins as MemoryPins
    from aibridge.mcp.servers import McpServer as McpServer
    from aibridge.mcp.status import ServerStatus as ServerStatus
    from aibridge.mcp.toolbox import McpToolbox as McpToolbox

_HOME_OF = {
    "Authorization": "aibridge.mcp.authorization",
    "McpServer": "aibridge.mcp.servers",
    "McpToolbox": "aibridge.mcp.toolbox",
    "MemoryPins": "aibridge.mcp.pins",
    "NotAuthorized": "aibridge.mcp.authorization",
    "ServerStatus": "aibridge.mcp.status",
}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605  a list of strings, from the table


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)

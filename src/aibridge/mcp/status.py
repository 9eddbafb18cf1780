"""How servers do, as values: for the API, the command line and hosts. They need no SDK."""

from __future__ import annotations

from datetime import datetime

import msgspec

from aibridge.mcp.servers import McpServer


class LeftOutTool(msgspec.Struct, frozen=True):
    """A tool that nobody is offered, and why."""

    name: str
    why: str


class OfferedTool(msgspec.Struct, frozen=True):
    """A tool as models know it (`id`) and as the server does (`name`)."""

    id: str
    name: str
    description: str


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How one server does, in this process. Lists are those that were read last, whoever asked."""

    name: str
    url: str | None
    transport: str
    auth: str
    groups: tuple[str, ...]
    pin: str
    state: str  # unused, up, down
    protocol_version: str | None
    since: datetime | None  # of the state
    sessions: int
    last_error: str | None
    last_error_at: datetime | None
    tools: tuple[OfferedTool, ...]
    left_out: tuple[LeftOutTool, ...]
    login: str | None = None  # done, needed; null where nobody logs in, or where it is not one person's status
    changed: tuple[str, ...]  # tools whose definition is not the one that was first seen


def unused(server: McpServer) -> ServerStatus:
    """That of a server of which nobody has asked anything."""
    return ServerStatus(
        name=server.name,
        url=server.shown_url,
        transport=server.transport,
        auth=server.auth,
        groups=server.groups,
        pin=server.pin,
        state="unused",
        protocol_version=None,
        since=None,
        sessions=0,
        last_error=None,
        last_error_at=None,
        tools=(),
        left_out=(),
        changed=(),
    )

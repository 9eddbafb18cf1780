"""The toolbox over MCP servers. The SDK is loaded when it is entered, beside whatever else goes on.

The rule: whoever makes a toolbox, configures it, or serves requests meanwhile does not wait for the SDK, which takes as
long to import as the rest of the server.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from msgspec.structs import replace

from aibridge.actor import Actor
from aibridge.clock import SystemClock
from aibridge.mcp.authorization import AuthorizationFor, fixed_authorization
from aibridge.mcp.pins import MemoryPins
from aibridge.mcp.servers import McpServer
from aibridge.mcp.settings import ToolboxSettings
from aibridge.mcp.status import ServerStatus, unused
from aibridge.ports import Clock, Identity
from aibridge.tool_ports import Connecting, Pins, ToolboxObserver
from aibridge.tools import NO_TOOLS, Text, Tool, ToolCall, ToolResult, Toolset
from aibridge.unobserved import UNFOLLOWED, UNOBSERVED_TOOLBOX

if TYPE_CHECKING:
    from aibridge.mcp.sessions import Sessions

PATIENCE = 5.0
"""Seconds that requests wait for lists that were never read."""
_IDLE = 600.0  # seconds; a person who thinks for longer pays a handshake
_log = logging.getLogger(__name__)
_CLOSED = "the tools are closed"


class McpToolbox:
    """A `Toolbox` (see `aibridge.ports`) and async context manager. Entering it connects to nobody.

    Args:
        servers: their names must differ.
        authorization: what each server is shown for each actor; by default its token, or nothing.
        pins: the definitions that were first seen; by default in memory, which a restart forgets.
        observer: told of servers, sessions and calls.
        connecting: follows how servers are connected to; an `aibridge.tracing.Tracing` does.
        clock, chance: time, and numbers from 0 to 1, as arguments.
        patience: how long requests wait for lists that were never read, in seconds.
        idle: how long a connection is kept without use, in seconds.
        complaints: where the standard error of local servers goes; by default nowhere.
        ca_bundle: a file with the authorities (PEM) that servers are verified by; by default the machine's.

    Raises:
        ValueError: two servers have one name.
        ImportError: on entering; the extra `mcp` is not installed.
    """

    def __init__(
        self,
        servers: Sequence[McpServer],
        *,
        authorization: AuthorizationFor = fixed_authorization,
        pins: Pins | None = None,
        observer: ToolboxObserver = UNOBSERVED_TOOLBOX,
        connecting: Connecting = UNFOLLOWED,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
        patience: float = PATIENCE,
        idle: float = _IDLE,
        complaints: TextIO | None = None,
        ca_bundle: str | None = None,
    ) -> None:
        self._servers = _checked(servers)
        self._settings = ToolboxSettings(
            authorization=authorization,
            pins=pins or MemoryPins(),
            observer=observer,
            connecting=connecting,
            clock=clock or SystemClock(),
            chance=chance,
            patience=patience,
            idle=idle,
            complaints=complaints,
            ca_bundle=ca_bundle,
        )
        self._loading: asyncio.Task[None] | None = None
        self._sessions: Sessions | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        if find_spec("mcp") is None:
            raise ImportError("an McpToolbox needs the extra `mcp`: pip install 'aibridge[mcp]'")
        self._loading = asyncio.get_running_loop().create_task(self._load())
        return self

    async def _load(self) -> None:
        try:
            sessions = await asyncio.to_thread(_sessions, self._servers, self._settings)
            sessions.reconfigure(self._servers)  # they may be others by now
            self._sessions = sessions
        except Exception:  # noqa: BLE001  the edge of a background task: requests go on without tools
            _log.exception("the MCP client cannot be loaded: no tools are offered")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed = True
        if self._loading is not None:
            await asyncio.wait([self._loading])
        if self._sessions is not None:
            await self._sessions.close()

    def reconfigure(self, servers: Sequence[McpServer]) -> None:
        """From now on these are the servers. Those that have not changed, and calls that run, are not touched.

        Raises: ValueError, when two have one name; then nothing has changed.
        """
        self._servers = _checked(servers)
        if self._sessions is not None:
            self._sessions.reconfigure(self._servers)

    # -- the port --------------------------------------------------------------------------------------

    async def tools(self, identity: Identity) -> Toolset:
        sessions = self._sessions or await self._loaded()
        return NO_TOOLS if sessions is None or self._closed else await sessions.tools(identity)

    async def call(self, identity: Identity, tool: Tool, call: ToolCall) -> ToolResult:
        sessions = self._sessions or await self._loaded()
        if sessions is None or self._closed:
            return ToolResult(call_id=call.call_id, content=(Text(f"The call failed: {_CLOSED}"),), error=_CLOSED)
        return await sessions.call(identity, tool, call)

    async def _loaded(self) -> Sessions | None:
        """What the first requests wait for, but not for longer than for lists."""
        if self._loading is not None:
            await asyncio.wait([self._loading], timeout=self._settings.patience)
        return self._sessions

    # -- beside it -------------------------------------------------------------------------------------

    def status(self) -> list[ServerStatus]:
        """How each server does, in the order of the configuration."""
        return list(map(unused, self._servers)) if self._sessions is None else self._sessions.status()

    def status_for(self, actor: Actor) -> list[ServerStatus]:
        """The same of the servers that are for this person, with the person's own session and list."""
        if self._sessions is None:
            found = [unused(server) for server in self._servers if server.is_offered_to(actor)]
        else:
            found = self._sessions.status_for(actor)
        servers = {server.name: server for server in self._servers}
        return [self._with_login(each, servers[each.name], actor) for each in found]

    def _with_login(self, status: ServerStatus, server: McpServer, actor: Actor) -> ServerStatus:
        if server.auth not in ("oauth", "caller"):
            return status
        logs_in = server.auth == "oauth"
        missing = self._settings.authorization(server, Identity(actor, [], b"")).missing()
        if missing is None:
            return replace(status, login="done" if logs_in else None)
        login = "needed" if logs_in else None
        return replace(status, login=login, last_error=missing, last_error_at=None, tools=(), left_out=())


def _checked(servers: Sequence[McpServer]) -> tuple[McpServer, ...]:
    if len({server.name for server in servers}) < len(servers):
        raise ValueError("two MCP servers have the same name")
    return tuple(servers)


def _sessions(servers: Sequence[McpServer], settings: ToolboxSettings) -> Sessions:
    from aibridge.mcp.sessions import Sessions  # noqa: PLC0415  in a thread, see above

    return Sessions(servers, settings)

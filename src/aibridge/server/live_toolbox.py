"""The toolbox over the configured MCP servers, and people's logins at them. Both may change while requests run.

Nobody is connected to before somebody asks; nothing of either is loaded before there is a server that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aibridge.ports import Clock, Connecting, Identity, Pins, ToolboxObserver
from aibridge.server.configured_logins import authorization_with

if TYPE_CHECKING:
    from aibridge.mcp import McpServer, McpToolbox
    from aibridge.mcp.authorization import Authorization
    from aibridge.mcp.oauth.logins import Logins

OpenLogins = Callable[[Sequence["McpServer"]], AbstractAsyncContextManager["Logins | None"]]


class LiveToolbox:
    """An async context manager; leaving it ends connections, then renewals. `open_logins` opens the logins at servers."""

    def __init__(
        self,
        open_logins: OpenLogins,
        *,
        pins: Pins,
        observer: ToolboxObserver,
        connecting: Connecting,
        clock: Clock,
        ca_bundle: str | None,
    ) -> None:
        self._open_logins = open_logins
        self._pins = pins
        self._observer = observer
        self._connecting = connecting
        self._clock = clock
        self._ca_bundle = ca_bundle
        self._below, self._stack = AsyncExitStack(), AsyncExitStack()
        self._toolbox: McpToolbox | None = None
        self.toolbox: McpToolbox | None = None
        """None: there are no servers."""
        self.logins: Logins | None = None
        """None: nobody has had to log in at any of them so far."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._stack.aclose()
        finally:
            await self._below.aclose()

    async def adopt(self, servers: Sequence[McpServer]) -> McpToolbox | None:
        """From now on these are the servers. Raises: ImportError, when what speaks to them is not installed."""
        if self.logins is None:
            self.logins = await self._below.enter_async_context(self._open_logins(servers))
        else:
            self.logins.reconfigure(servers)
        if self._toolbox is not None:
            self._toolbox.reconfigure(servers)
        elif servers:
            self._toolbox = await self._stack.enter_async_context(self._made(servers))
        self.toolbox = self._toolbox if servers else None
        return self.toolbox

    def _made(self, servers: Sequence[McpServer]) -> McpToolbox:
        from aibridge.mcp import McpToolbox  # noqa: PLC0415  see the module

        return McpToolbox(
            servers,
            authorization=self._authorization,
            pins=self._pins,
            observer=self._observer,
            connecting=self._connecting,
            clock=self._clock,
            ca_bundle=self._ca_bundle,
        )

    def _authorization(self, server: McpServer, identity: Identity) -> Authorization:
        return authorization_with(self.logins, self._clock)(server, identity)

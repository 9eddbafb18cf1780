"""The toolbox over the configured MCP servers, people's logins at them, and what people's own tokens are exchanged for.

All may change while requests run. Nobody is connected to before somebody asks; nothing of either is loaded before there is a server that needs it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aibridge.ports import Clock, Identity
from aibridge.server.auth.caller_tokens import CallerTokens
from aibridge.server.configured_logins import authorization_with
from aibridge.tool_ports import Connecting, Pins, ToolboxObserver

if TYPE_CHECKING:
    from aibridge.mcp import McpServer, McpToolbox
    from aibridge.mcp.authorization import Authorization
    from aibridge.mcp.caller.exchange import FindEndpoint
    from aibridge.mcp.caller.exchanges import Exchanges
    from aibridge.mcp.oauth.logins import Logins

OpenLogins = Callable[[Sequence["McpServer"]], AbstractAsyncContextManager["Logins | None"]]


class LiveToolbox:
    """An async context manager; leaving it ends connections, then renewals and exchanges.

    `open_logins` opens the logins at servers, `callers` are the tokens that people came with, and `find_endpoint` gives
    the token endpoint of their identity provider.
    """

    def __init__(
        self,
        open_logins: OpenLogins,
        *,
        pins: Pins,
        observer: ToolboxObserver,
        connecting: Connecting,
        clock: Clock,
        ca_bundle: str | None,
        callers: CallerTokens,
        find_endpoint: FindEndpoint,
    ) -> None:
        self._open_logins = open_logins
        self._pins = pins
        self._observer = observer
        self._connecting = connecting
        self._clock = clock
        self._ca_bundle = ca_bundle
        self._callers = callers
        self._find_endpoint = find_endpoint
        self._exchanges: Exchanges | None = None
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
        await self._adopt_callers(servers)
        if self._toolbox is not None:
            self._toolbox.reconfigure(servers)
        elif servers:
            self._toolbox = await self._stack.enter_async_context(self._made(servers))
        self.toolbox = self._toolbox if servers else None
        return self.toolbox

    async def _adopt_callers(self, servers: Sequence[McpServer]) -> None:
        asked_by_callers = [server for server in servers if server.auth == "caller"]
        self._callers.need(needed=bool(asked_by_callers))
        if self._exchanges is not None:
            self._exchanges.reconfigure(asked_by_callers)
        elif asked_by_callers:
            from aibridge.mcp.caller.exchanges import Exchanges  # noqa: PLC0415  see the module

            exchanges = Exchanges(
                self._callers,
                self._find_endpoint,
                clock=self._clock,
                chance=random.random,
                ca_bundle=self._ca_bundle,
            )
            self._exchanges = await self._below.enter_async_context(exchanges)

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
        otherwise = authorization_with(self.logins, self._clock)
        if self._exchanges is None:
            return otherwise(server, identity)
        from aibridge.mcp.caller.authorization import caller_authorization  # noqa: PLC0415  see the module

        return caller_authorization(self._callers, self._exchanges, otherwise)(server, identity)

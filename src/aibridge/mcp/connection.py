"""One connection to one server, from the first byte to the last, held by one task: the SDK wants it left where it was entered.

Calls are made by whoever wants them, on the open client; opening, reading the list and closing are the holder's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import mcp_types as types
from mcp.client import Client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from aibridge.mcp import answers
from aibridge.mcp.authorization import Authorization
from aibridge.mcp.offers import MOST_TOOLS, Unlistable
from aibridge.mcp.servers import McpServer
from aibridge.mcp.transports import Kind, Outside, Way, client_for, kinds_of
from aibridge.mcp.troubles import Unavailable, ended, unavailable

_OPENING = 30.0  # seconds until the list is there
_MOST_PAGES = 100
_FOLLOWED = 60.0  # seconds; a stream of changes that ends sooner is not one to come back for
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reached:
    """How a server was reached. Remembered, so that the next connection need not find out again."""

    kind: Kind
    protocol_version: str

    @property
    def legacy(self) -> bool:
        return self.protocol_version not in MODERN_PROTOCOL_VERSIONS


class Connection:
    """Holds a connection while `hold` runs.

    Args:
        server, authorization: whom to connect to, and as whom.
        before: how the server was reached the last time.
        read: awaited with each list that was read.
        monotonic: seconds since some fixed moment.
        idle: how long it is kept without a call or a question, in seconds.
        outside: what all connections share.
        hidden: takes out of what the server says what nobody is to read.
    """

    def __init__(
        self,
        server: McpServer,
        authorization: Authorization,
        *,
        before: Reached | None,
        read: Callable[[Reached, list[types.Tool]], Awaitable[None]],
        monotonic: Callable[[], float],
        idle: float,
        outside: Outside,
        hidden: Callable[[str], str],
    ) -> None:
        self._server = server
        self._hidden = hidden
        self._before = before
        self._read = read
        self._monotonic = monotonic
        self._idle = idle
        self._way = Way(authorization, self.refresh, self.close, self._request_failed, outside)
        self._wake = asyncio.Event()
        self._closing = False
        self.outdated = False
        """Whether the list is to be read again, and was not."""
        self._refusals: list[int | None] = []  # statuses of what failed while it opens
        self.settled = asyncio.Event()
        """Set once it is open, or will never be."""
        self.client: Client | None = None
        """While it is open."""
        self.was_open = False
        self.why: Unavailable | None = None
        """Why it is not, or no longer, open; None: it was closed on purpose."""
        self.used = monotonic()
        self.calls = 0
        """How many are under way."""

    @property
    def opening(self) -> bool:
        return not self.settled.is_set()

    def refresh(self) -> None:
        """Reads the list again, soon."""
        self.outdated = True
        self._wake.set()

    def close(self) -> None:
        """Ends it, soon; nobody gets the client any more."""
        self.client = None
        self._closing = True
        self._wake.set()

    def _request_failed(self, code: int, status: int | None) -> None:
        if self.opening:
            self._refusals.append(status if code == answers.BAD_STATUS else None)

    async def hold(self) -> None:
        """Connects and stays so until closed, idle or lost. Cancelling closes too."""
        try:
            async with AsyncExitStack() as stack:
                followed = self._way.outside.connecting
                with followed.connecting(self._server.name, self._server.url):
                    async with asyncio.timeout(_OPENING):
                        client, kind = await self._open(stack)
                        reached = Reached(kind, client.protocol_version)
                        with followed.listing():
                            await self._list(client, reached)
                if not self._closing:
                    self.client = client
                self.was_open = True
                self.settled.set()
                async with asyncio.TaskGroup() as group:
                    following = group.create_task(self._follow(client))
                    await self._tend(client, reached)
                    following.cancel()
        except Exception as error:  # noqa: BLE001  the edge of a background task: whoever waits gets the reason
            self.why = unavailable(error, self._hidden)
            _log.debug("a connection to an MCP server ended", extra={"server": self._server.name, "why": str(self.why)})
        finally:
            self.client = None
            self.settled.set()

    async def _open(self, stack: AsyncExitStack) -> tuple[Client, Kind]:
        kinds = kinds_of(self._server) if self._before is None else (self._before.kind,)
        legacy = self._before is not None and self._before.legacy
        for kind in kinds[:-1]:
            self._refusals.clear()
            client = client_for(self._server, kind, self._way, legacy=legacy)
            try:
                return await stack.enter_async_context(client), kind
            except Exception:  # whatever it is, the status says whether the other transport is worth a try
                if not self._other_transport_may_do():
                    raise
        client = client_for(self._server, kinds[-1], self._way, legacy=legacy)
        return await stack.enter_async_context(client), kinds[-1]

    def _other_transport_may_do(self) -> bool:
        """A server of the older transport answers a POST with some 4xx (the specification names 400, 404 and 405)."""
        return bool(self._refusals) and all(status is not None and 400 <= status < 500 for status in self._refusals)

    async def _list(self, client: Client, reached: Reached) -> None:
        self.outdated = False  # what changes from here on is read the next time
        try:
            await self._read(reached, await listed(client))
        except BaseException:
            self.outdated = True
            raise

    async def _list_again(self, client: Client, reached: Reached) -> None:
        try:
            await self._list(client, reached)
        except MCPError as error:
            if error.code != answers.SESSION_GONE and not ended(error):
                raise
            self.close()  # the server has forgotten us, which is no failure: the next request connects anew

    async def _tend(self, client: Client, reached: Reached) -> None:
        while not self._closing:
            left = self.used + self._idle - self._monotonic()
            if left <= 0 and not self.calls:
                break
            try:
                async with asyncio.timeout(max(left, 1.0)):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()
            if self.outdated and not self._closing:
                await self._list_again(client, reached)
        self.client = None

    async def _follow(self, client: Client) -> None:
        """Before 2026 changes come by themselves, since then to whoever listens."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or tools is None or not tools.list_changed:
            return
        began = self._monotonic()
        try:
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self.refresh()
        except (MCPError, SubscriptionLost, ListenNotSupportedError, TimeoutError):
            pass
        if self._monotonic() - began > _FOLLOWED:
            self.close()  # the server was restarted, perhaps with other tools; the next request connects anew


async def listed(client: Client) -> list[types.Tool]:
    """All pages of the list. Raises: Unlistable, MCPError."""
    found: list[types.Tool] = []
    cursor, seen = None, set[str]()
    for _ in range(_MOST_PAGES):
        try:
            page = await client.session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
        except MCPError as error:
            if error.code == types.METHOD_NOT_FOUND:  # it has prompts and resources only
                return []
            raise
        found.extend(page.tools)
        if len(found) > MOST_TOOLS:
            raise Unlistable(f"it lists more than {MOST_TOOLS} tools")
        cursor = page.next_cursor
        if not cursor:
            return found
        if cursor in seen:
            raise Unlistable("the pages of its list go round in a circle")
        seen.add(cursor)
    raise Unlistable(f"its list has more than {_MOST_PAGES} pages")

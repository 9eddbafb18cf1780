"""One actor's way to one server: the list that is known, and the connection, which comes and goes.

The rule: a list that is known is served, whatever the connection does; only calls wait for one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from typing import Any

import mcp_types as types
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp_types import HEADER_MISMATCH
from pydantic import TypeAdapter

from aibridge.credentials import Scrubber
from aibridge.mcp import answers
from aibridge.mcp.authorization import Authorization
from aibridge.mcp.connection import Connection, Reached, listed
from aibridge.mcp.known_server import KnownServer
from aibridge.mcp.offers import Offer
from aibridge.mcp.outages import Outage
from aibridge.mcp.transports import Outside
from aibridge.mcp.troubles import Unavailable, ended

Given = types.CallToolResult | types.InputRequiredResult
Spawn = Callable[[Coroutine[Any, Any, None]], object]

_GIVEN: TypeAdapter[Given] = TypeAdapter(Given)
_FRESH = 300.0  # seconds after which a list is read again, where no change was announced
# For the SDK, which would bound calls like everything else: whoever calls us gives up by cancelling.
_NEVER = 7 * 86400.0


class Session:
    """See the module.

    Args:
        known: the server.
        authorization: what it is shown.
        spawn: starts a task that the toolbox owns.
        own_outage: of this actor: others may be let in where this one is not.
        patience: how long requests wait for the first list, in seconds.
        idle: how long a connection is kept without use, in seconds.
        outside: what all connections share.
    """

    def __init__(
        self,
        known: KnownServer,
        authorization: Authorization,
        *,
        spawn: Spawn,
        own_outage: Outage,
        monotonic: Callable[[], float],
        patience: float,
        idle: float,
        outside: Outside,
    ) -> None:
        self.known = known
        self.offer: Offer | None = None
        self.waits_until = monotonic() + patience
        """Until when requests wait for the first list."""
        self._authorization = authorization
        self._personal = known.server.auth in ("oauth", "caller")
        self._spawn = spawn
        self._own_outage = own_outage
        self._monotonic = monotonic
        self._idle = idle
        self._outside = outside
        self._connection: Connection | None = None
        self._retired = False
        self._read_at = -math.inf
        self._read_as: object = None

    @property
    def connected(self) -> bool:
        return self._connection is not None

    @property
    def idle(self) -> bool:
        """Whether it has an open connection that no call uses."""
        return self._connection is not None and self._connection.client is not None and not self._connection.calls

    @property
    def missing(self) -> str | None:
        """What this actor must do before the server lets anybody in; None: nothing."""
        return self._authorization.missing() if self._personal else None

    def hidden(self, text: str) -> str:
        """What the server says, without its secrets and without what it was shown."""
        known = (*self.known.server.secrets(), *self._authorization.secrets())
        return Scrubber(known).scrub(text.encode("utf-8", "replace")).decode()

    def want(self) -> Connection | None:
        """Somebody asks for the list: it is read where it is not known or old. What is to be waited for, if anything."""
        rights = self._authorization.rights()
        if rights != self._read_as:
            self._own_outage.worked()  # how it was with the rights before says nothing
        old = self._monotonic() - self._read_at > _FRESH or rights != self._read_as
        stale = self.offer is None or old
        connection = self._connection
        if connection is None:
            if not stale or self.out:
                return None
            self._read_as = rights
            connection = self._connect()
        else:
            connection.used = self._monotonic()
            if stale and connection.client is not None:
                self._read_at, self._read_as = self._monotonic(), rights  # asked for once, however many ask meanwhile
                connection.refresh()
        return connection if self.offer is None and connection.opening else None

    @property
    def out(self) -> bool:
        """Whether an attempt failed so recently that none is made."""
        return self.known.outage.lasts or self._own_outage.lasts

    def leave_off(self) -> None:
        """Ends it: this actor is not let in any more. What an own token was good for when it began may end first."""
        if self.known.server.auth != "caller" or self.idle:
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def retire(self) -> None:
        """Closes it when its last call is over: the server is no longer configured, or otherwise."""
        self._retired = True
        if self._connection is not None and not self._connection.calls:
            self._connection.close()

    def _connect(self) -> Connection:
        known = self.known
        connection = Connection(
            known.server,
            self._authorization,
            before=known.reached_by,
            read=self._have_read,
            monotonic=self._monotonic,
            idle=self._idle,
            outside=self._outside,
            hidden=self.hidden,
        )
        self._connection = connection
        known.outage.try_again()
        self._own_outage.try_again()
        self._spawn(self._hold(connection))
        return connection

    async def _hold(self, connection: Connection) -> None:
        self.known.opened()
        try:
            await connection.hold()
        finally:
            self.known.closed()
            connection.settled.set()
            if self._connection is connection:
                self._connection = None
            if connection.outdated:
                self._read_at = -math.inf
            if connection.why is not None and connection.was_open:
                self.known.broke(connection.why)
            elif connection.why is not None:
                self.known.failed(connection.why)
                self._own_outage.failed()

    async def _have_read(self, reached: Reached, tools: list[types.Tool]) -> None:
        self.offer = await self.known.read(reached, tools)
        self._read_at = self._monotonic()
        self._own_outage.worked()

    async def call(self, name: str, arguments: dict[str, Any]) -> Given:
        """What a tool gives back. Tried again only where the server has refused without running anything.

        Raises:
            Unavailable: the server cannot be asked. MCPError: it answered with an error, or not at all.
        """
        for last in (False, True):
            connection = self._engaged()
            connection.calls += 1  # from here on it is not idle
            try:
                client = await _opened(connection)
                request = types.CallToolRequest(params=types.CallToolRequestParams(name=name, arguments=arguments))
                return await client.session.send_request(request, _GIVEN, request_read_timeout_seconds=_NEVER)
            except MCPError as error:
                if error.code == answers.SESSION_GONE or ended(error):
                    self._leave(connection)
                if last or error.code not in (answers.SESSION_GONE, HEADER_MISMATCH):
                    raise
                if connection.client is not None:  # which headers a call has is in the list; it may have changed
                    await listed(connection.client)
            finally:
                connection.calls -= 1
                connection.used = self._monotonic()
                if self._retired and not connection.calls:
                    connection.close()
        raise AssertionError("the second attempt returns or raises")

    def _engaged(self) -> Connection:
        """The connection that a call may use, open or not yet. Raises: Unavailable."""
        connection = self._connection
        if connection is not None and (connection.client is not None or connection.opening):
            return connection
        if self.out:
            raise Unavailable("it cannot be reached at the moment")
        return self._connect()

    def _leave(self, connection: Connection) -> None:
        connection.close()
        if self._connection is connection:
            self._connection = None


async def _opened(connection: Connection) -> Client:
    await connection.settled.wait()
    if connection.client is None:
        raise connection.why or Unavailable("the connection was closed")
    return connection.client


async def settled(connections: list[Connection], within: float) -> None:
    """Returns when all are open, or will not be, or the time is over."""
    try:
        async with asyncio.timeout(within):
            for connection in connections:
                await connection.settled.wait()
    except TimeoutError:
        pass

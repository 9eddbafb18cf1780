"""Connections that wait for their next request, by origin. The one that was used last is used first."""

from __future__ import annotations

import asyncio
import ssl
from typing import NamedTuple

from aibridge.upstream.connection import Connection

IDLE_LIMIT = 30.0
"""Seconds that a connection waits for its next request: less than the load balancers in front of providers allow."""


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int


class Pool:
    """Opens connections and keeps the idle ones."""

    def __init__(self, ssl_context: ssl.SSLContext | None) -> None:
        self._ssl_context = ssl_context
        self._idle: dict[Origin, list[Connection]] = {}
        self._all: dict[Connection, Origin] = {}
        self._loop = asyncio.get_running_loop()
        self._sweep: asyncio.TimerHandle | None = None

    def idle(self, origin: Origin) -> Connection | None:
        """A connection to `origin` that can serve a request, if there is one."""
        waiting = self._idle.get(origin)
        while waiting:
            connection = waiting.pop()
            if connection.usable:
                return connection
        return None

    async def connect(self, origin: Origin) -> Connection:
        """A new connection. Raises: OSError, ssl.SSLError."""
        context = None
        if origin.scheme == "https":
            context = self._ssl_context = self._ssl_context or _default_context()
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._release, self._forget), origin.host, origin.port, ssl=context
        )
        self._all[connection] = origin
        return connection

    async def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._idle.clear()
        for connection in list(self._all):
            connection.break_off()
        await asyncio.sleep(0)  # lets the transports close their sockets

    def _release(self, connection: Connection) -> None:
        self._idle.setdefault(self._all[connection], []).append(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(IDLE_LIMIT, self._close_old)

    def _forget(self, connection: Connection) -> None:
        origin = self._all.pop(connection, None)
        if origin is not None and connection in (waiting := self._idle.get(origin, [])):
            waiting.remove(connection)

    def _close_old(self) -> None:
        oldest = self._loop.time() - IDLE_LIMIT
        for waiting in self._idle.values():
            for connection in waiting:
                if connection.idle_since <= oldest:
                    connection.close()
            waiting[:] = [connection for connection in waiting if connection.usable]
        kept = any(self._idle.values())
        self._sweep = self._loop.call_later(IDLE_LIMIT / 2, self._close_old) if kept else None


def _default_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context

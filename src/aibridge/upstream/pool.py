"""Connections that wait for their next request, by origin. The one that was used last is used first."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from aibridge.link import Link
from aibridge.upstream.certificates import Certificates
from aibridge.upstream.connecting import connect
from aibridge.upstream.connection import Connection

IDLE_TIMEOUT = 30.0
"""Seconds that a connection waits for its next request: less than the load balancers in front of providers allow."""
MAX_IDLE = 500
"""Idle connections to one origin: what many requests at once leave behind must not use up the descriptors."""


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int
    link: Link | None = None


class Pool:
    """Opens connections and keeps the idle ones."""

    def __init__(self, certificates: Certificates, *, max_idle: int, idle_timeout: float) -> None:
        self._certificates = certificates
        self._max_idle = max_idle
        self._idle_timeout = idle_timeout
        self._slots: dict[Origin, asyncio.Semaphore] = {}
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
        """A new connection. Raises: UpstreamUnreachable."""
        connection = Connection(self._release, self._forget)
        await connect(connection, *origin, self._certificates)
        if connection.usable:  # else whoever asks learns it from the connection
            self._all[connection] = origin
        return connection

    def slots(self, origin: Origin) -> asyncio.Semaphore | None:
        """To be held by whoever uses a connection to `origin`; None: there may be any number of them.

        An idle connection is used before a new one is made, so that there never are more than slots.
        """
        if origin.link is None or not origin.link.max_connections:
            return None
        slots = self._slots.get(origin)
        if slots is None:
            slots = self._slots[origin] = asyncio.Semaphore(origin.link.max_connections)
        return slots

    async def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
        self._idle.clear()
        for connection in list(self._all):
            connection.break_off()
        await asyncio.sleep(0)  # lets the transports close their sockets

    def _release(self, connection: Connection) -> None:
        waiting = self._idle.setdefault(self._all[connection], [])
        waiting.append(connection)
        if len(waiting) > self._max_idle:
            waiting.pop(0).close()
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._idle_timeout, self._close_old)

    def _forget(self, connection: Connection) -> None:
        origin = self._all.pop(connection, None)
        if origin is not None and connection in (waiting := self._idle.get(origin, [])):
            waiting.remove(connection)

    def _close_old(self) -> None:
        oldest = self._loop.time() - self._idle_timeout
        for waiting in self._idle.values():
            for connection in waiting:
                if connection.idle_since <= oldest:
                    connection.close()
            waiting[:] = [connection for connection in waiting if connection.usable]
        kept = any(self._idle.values())
        self._sweep = self._loop.call_later(self._idle_timeout / 2, self._close_old) if kept else None

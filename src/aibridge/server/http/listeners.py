"""The listening sockets of one server: open, paused while file descriptors are short, or closed.

Left alone, libuv (uvloop) accepts and closes connections when descriptors run out, or spins when its spare one is taken
by a thread. Paused, the kernel's queue holds the clients until there is room. (asyncio's own loop, which nothing is
served with, pauses by itself; what it has accepted in that moment it resets.)
"""

import asyncio
import logging
import socket

from uvicorn.server import Server

from aibridge.server.http.sockets import descriptors_are_scarce

_log = logging.getLogger("aibridge.server.http")

# Below it accepting stops: room for the databases, logs and upstream connections of what already runs.
SPARE_DESCRIPTORS = 16


class Listeners:
    """Owns the sockets; uvicorn's server gets duplicates, so that closing those only pauses."""

    def __init__(self, server: Server, sockets: list[socket.socket]) -> None:
        self._server = server
        self._sockets = sockets
        for listening in sockets:
            # Python's `dup` sets blocking from its own idea of the socket, and all processes share that property:
            # a worker that starts would make another one's `accept` wait, and with it that worker's whole loop.
            listening.setblocking(False)
        self._paused = False

    async def open(self) -> None:
        duplicates: list[socket.socket] = []
        try:
            duplicates.extend(listening.dup() for listening in self._sockets)
            await self._server.startup(sockets=duplicates)
        except OSError:
            for duplicate in duplicates:
                duplicate.close()
            raise

    def pause_if_scarce(self) -> None:
        """Called when a connection came in on a high descriptor, and by every tick."""
        if self._sockets and not self._paused and descriptors_are_scarce(SPARE_DESCRIPTORS):
            self._paused = True
            _log.warning("file descriptors are running out: no new connections until some are free")
            self._stop_accepting()

    async def tick(self) -> None:
        """Go on accepting once there is room again."""
        self.pause_if_scarce()
        if self._paused and self._sockets and not descriptors_are_scarce(2 * SPARE_DESCRIPTORS):
            await self.open()
            self._paused = False
            _log.warning("accepting connections again")

    def close(self) -> None:
        self._stop_accepting()
        for listening in self._sockets:
            listening.close()
        self._sockets = []

    def _stop_accepting(self) -> None:
        for server in self._servers():
            server.close()

    def _servers(self) -> list[asyncio.Server]:
        # uvicorn sets the attribute in startup.
        return list(getattr(self._server, "servers", ()))

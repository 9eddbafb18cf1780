"""Serve the simulated provider on loopback, inside the running event loop.

It takes no signals, logs only its own failures, and its end is bounded: whoever is still connected is cut off.
"""

import asyncio
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aibridge.server.demo.simulator.app import HANG_UP
from aibridge.server.demo.simulator.delivery import Receive, Scope, Send

_IDLE_SECONDS = 75  # as long as nginx: longer than the clients' pools keep a connection that they may use again
_END_SECONDS = 1.0


@asynccontextmanager
async def serve_simulator(
    app: Callable[[Scope, Receive, Send], Awaitable[None]], host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[str]:
    """Serve an application; gives its base URL, as in ``http://127.0.0.1:41234``."""
    from uvicorn import Config  # noqa: PLC0415  an extra, slow to import, and not needed to mount the application
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415  as above
    from uvicorn.server import ServerState  # noqa: PLC0415  as above

    state = ServerState()

    async def breakable(scope: Scope, receive: Receive, send: Send) -> None:
        def hang_up(reset: bool) -> None:
            for connection in list(state.connections):
                if isinstance(connection, HttpToolsProtocol) and connection.client == scope["client"]:
                    _close(connection.transport, reset=reset)

        scope["extensions"] = {**(scope.get("extensions") or {}), HANG_UP: hang_up}
        await app(scope, receive, send)

    config = Config(
        breakable,
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        timeout_keep_alive=_IDLE_SECONDS,
    )
    config.load()
    # Not uvicorn's own logger: the bridge may run in the same process. A refused upgrade is nothing to warn about.
    logger = logging.getLogger("aibridge.simulator")
    logger.setLevel(logging.ERROR)

    def connected() -> HttpToolsProtocol:
        protocol = HttpToolsProtocol(config=config, server_state=state, app_state={})
        protocol.logger = logger
        return protocol

    listener = socket.create_server((host, port), backlog=1024)
    # Inherited by what it accepts. asyncio does not set it there, and a body would wait for the head's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server = await asyncio.get_running_loop().create_server(connected, sock=listener)
    bound_port: int = listener.getsockname()[1]
    try:
        yield f"http://{host}:{bound_port}"
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        running = list(state.tasks)
        if running:
            _, late = await asyncio.wait(running, timeout=_END_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def _close(transport: asyncio.Transport, *, reset: bool) -> None:
    if not reset:
        transport.close()
        return
    connected = transport.get_extra_info("socket")
    # Linger on with a time of zero makes the kernel answer with a reset instead of a FIN (socket(7)).
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()

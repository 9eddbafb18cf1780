"""`/metrics` on a listener of its own: rendered in a thread, so that no stream waits for a large exposition.

Nobody signs in for it, and so it listens on loopback unless it is told otherwise.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from aibridge.server.http.asgi import Application, Receive, Scope, Send
from aibridge.server.http.serving import HttpServer

PATH = b"/metrics"
_LAST_SCRAPE = 1.0  # seconds that one which has begun may take when the server ends


@asynccontextmanager
async def serving_metrics(
    sockets: list[socket.socket], registry: Callable[[], CollectorRegistry]
) -> AsyncIterator[None]:
    """Serves inside the block; without sockets nothing is served."""
    if not sockets:
        yield
        return
    server = HttpServer(metrics_page(registry), sockets=sockets, drain_timeout=_LAST_SCRAPE, grace=0.0)
    # Not in a task group: what leaves the block must come out as it is.
    serving = asyncio.create_task(server.run())
    try:
        yield
    finally:
        server.begin_drain()
        await serving


def metrics_page(registry: Callable[[], CollectorRegistry]) -> Application:
    """`registry` gives what is rendered, anew for each scrape, in the thread."""

    def render(accept: str) -> tuple[bytes, str]:
        encode, content_type = choose_encoder(accept)
        return encode(registry()), content_type

    async def metrics(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001  an application's arguments
        if scope["raw_path"] != PATH:
            await _answer(scope, send, 404, b"the metrics are at /metrics\n")
        elif scope["method"] not in ("GET", "HEAD"):
            await _answer(scope, send, 405, b"method not allowed\n", allow="GET, HEAD")
        else:
            accept = ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"accept")
            body, content_type = await asyncio.to_thread(render, accept)
            await _answer(scope, send, 200, body, content_type)

    return metrics


async def _answer(
    scope: Scope, send: Send, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8", allow: str = ""
) -> None:
    headers = [
        (b"content-type", content_type.encode("latin-1")),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", str(len(body)).encode()),
    ]
    if allow:
        headers.append((b"allow", allow.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

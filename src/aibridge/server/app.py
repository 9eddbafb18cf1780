"""The outermost application: sends each request to the data plane, or to what the server itself answers.

Decided by exact names on the raw path: what the server does not know by name is the bridge's. Nothing of the
management side stands in the way of a stream.
"""

from __future__ import annotations

from collections.abc import Mapping

from aibridge.server.config import RESERVED
from aibridge.server.http.asgi import Application, Receive, Scope, Send

PREFIXES = (b"/api/v2/aibridge/", b"/api/v2/ai-gateway/")
_RESERVED = frozenset(name.encode() for name in RESERVED)


class FrontDoor:
    """`own` are single pages by their raw path; `api` answers everything else that has a reserved name."""

    __slots__ = ("_api", "_bridge", "_own")

    def __init__(self, *, bridge: Application, api: Application, own: Mapping[bytes, Application]) -> None:
        self._bridge = bridge
        self._api = api
        self._own = own

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: bytes = scope["raw_path"]
            page = self._own.get(path)
            if page is not None:
                await page(scope, receive, send)
                return
            if is_reserved(path):
                await self._api(scope, receive, send)
                return
        await self._bridge(scope, receive, send)


def is_reserved(path: bytes) -> bool:
    """Whether a raw path belongs to the server, and so never to a provider."""
    for prefix in PREFIXES:
        if path.startswith(prefix):
            name = path[len(prefix) :].partition(b"/")[0]
            return name in _RESERVED
    if path in _MOUNTS:  # a client whose base URL is the prefix asks there whether anybody is home
        return False
    name = path[1:].partition(b"/")[0]
    return name in _RESERVED


_MOUNTS = frozenset(prefix[:-1] for prefix in PREFIXES)

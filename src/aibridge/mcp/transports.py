"""How a server is spoken to: the SDK's transports over our checked way out, each one a client that is yet to be entered.

Whatever a server asks of us (sampling, elicitation, roots) is declined by the SDK: nobody sits at a gateway.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TextIO

import httpx2
import mcp_types as types
from mcp.client import Client
from mcp.client.session import IncomingMessage
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from aibridge import __version__
from aibridge.egress import CheckedTransport, Trusted
from aibridge.mcp.answers import LARGEST_ANSWER, Answers
from aibridge.mcp.authorization import Authorization
from aibridge.mcp.servers import McpServer
from aibridge.tool_ports import Connecting

Kind = Literal["streamable_http", "sse", "stdio"]

_CONNECTING = 5.0  # seconds; also what the SDK allows
READING = 15.0
"""Seconds for each answer but those to calls, which the caller bounds."""
_WAITING = httpx2.Timeout(_CONNECTING, read=None)  # streams are silent for as long as nothing happens
_WE = types.Implementation(name="aibridge", version=__version__)


def kinds_of(server: McpServer) -> tuple[Kind, ...]:
    """The transports to try, in order."""
    if server.url is None:
        return ("stdio",)
    if server.transport == "auto":
        return ("streamable_http", "sse")
    return (server.transport,)


@dataclass(frozen=True, slots=True)
class Outside:
    """What all connections share: whose certificates are good, where local servers complain (None: nowhere), who follows."""

    trusted: Trusted
    complaints: TextIO | None
    connecting: Connecting


@dataclass(frozen=True, slots=True)
class Way:
    """What a client is made with, beside its server.

    Args:
        authorization: what the server is shown.
        changed: called when the server says that its list has changed.
        lost: called when the connection has ended by itself.
        failed: called with the code (`answers.py`) and the status of each request that got no good answer.
    """

    authorization: Authorization
    changed: Callable[[], None]
    lost: Callable[[], None]
    failed: Callable[[int, int | None], None]
    outside: Outside


def client_for(server: McpServer, kind: Kind, way: Way, *, legacy: bool) -> Client:
    """A client; entering it connects. `legacy`: the server is known to want the handshake of before 2026."""

    async def told(message: IncomingMessage) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            way.changed()

    return Client(
        _transport(server, kind, way),
        mode="legacy" if legacy else "auto",
        read_timeout_seconds=READING,
        client_info=_WE,
        message_handler=told,
        cache=None,
    )


def _transport(server: McpServer, kind: Kind, way: Way) -> AbstractAsyncContextManager[Any]:
    if kind == "stdio":
        return _watched(_local(server, way), way)
    return _watched(_sse(server, way) if kind == "sse" else _streamable(server, way), way)


@asynccontextmanager
async def _local(server: McpServer, way: Way) -> AsyncIterator[Any]:
    env = {name: value.reveal() for name, value in server.env.items()}
    parameters = StdioServerParameters(command=server.command[0], args=list(server.command[1:]), env=env)
    with open(os.devnull, "w") as nowhere:  # noqa: ASYNC230  the null device does not block
        async with stdio_client(parameters, way.outside.complaints or nowhere) as streams:
            yield streams


@asynccontextmanager
async def _streamable(server: McpServer, way: Way) -> AsyncIterator[Any]:
    assert server.url is not None
    headers = {name: value.reveal() for name, value in server.headers.items()}
    checked = CheckedTransport(way.outside.trusted, allow_private=server.allow_private)
    transport = Answers(checked, way.authorization, way.failed)
    async with (
        httpx2.AsyncClient(transport=transport, headers=headers, timeout=_WAITING, trust_env=False) as http,
        streamable_http_client(server.url, http_client=http, max_sse_event_size=LARGEST_ANSWER) as streams,
    ):
        yield streams


@asynccontextmanager
async def _sse(server: McpServer, way: Way) -> AsyncIterator[Any]:
    assert server.url is not None
    given = {name: value.reveal() for name, value in server.headers.items()}

    def failed(code: int, status: int | None) -> None:
        # Answers come on another connection: nobody would tell the one who waits there.
        way.failed(code, status)
        way.lost()

    checked = CheckedTransport(way.outside.trusted, allow_private=server.allow_private)
    transport = Answers(checked, way.authorization, failed)

    def http(
        headers: dict[str, str] | None = None,  # noqa: ARG001  what the SDK calls it with
        timeout: httpx2.Timeout | None = None,  # noqa: ARG001  as above
        auth: httpx2.Auth | None = None,  # noqa: ARG001  as above
    ) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=transport, headers=given, timeout=_WAITING, trust_env=False)

    async with sse_client(server.url, httpx_client_factory=http) as streams:
        yield streams


@asynccontextmanager
async def _watched(transport: AbstractAsyncContextManager[Any], way: Way) -> AsyncIterator[Any]:
    async with transport as (read, write):
        yield Watched(read, way.lost), write


class Watched:
    """A read stream of the SDK's that says when it has ended: nothing else does while nobody calls."""

    def __init__(self, inner: Any, ended: Callable[[], None]) -> None:
        self._inner = inner
        self._ended = ended

    @property
    def last_context(self) -> Any:
        return getattr(self._inner, "last_context", None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except StopAsyncIteration:
            self._ended()
            raise

    async def receive(self) -> Any:
        return await self._inner.receive()

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, traceback)

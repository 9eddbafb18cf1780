"""The way out to providers: HTTP/1.1 over pooled connections, parsed by httptools, nothing in between.

Nothing is added to a request but Host and Content-Length, and on the way through a proxy what that wants to know. No
redirect is followed. No environment variable is read (but by OpenSSL, which finds the system's authorities so).
"""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from types import TracebackType
from typing import NamedTuple
from urllib.parse import urlsplit

from aibridge.errors import InvalidRequest, Problem, Refused, UpstreamUnreachable
from aibridge.link import Link, Proxy
from aibridge.ports import UpstreamRequest, UpstreamTimeouts
from aibridge.upstream.answer import Answer
from aibridge.upstream.certificates import Certificates
from aibridge.upstream.connecting import proxy_authorization
from aibridge.upstream.connection import Connection
from aibridge.upstream.pool import IDLE_TIMEOUT, MAX_IDLE, Origin, Pool

__all__ = ["HttpUpstream"]

# Seconds within which a provider shows that it had closed an idle connection before our request reached it: a round
# trip and some. Whoever breaks off later may have begun to work on it, and is not asked twice (docs/adr/0008).
_CLOSED_MEANWHILE = 1.0
_OURS = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection"})


class HttpUpstream:
    """See `aibridge.ports.Upstream`. Binds to the running loop at the first request, not before.

    `ssl_context` verifies providers whose link names no certificates; by default the system's authorities do.
    `max_idle` connections to one origin are kept for `idle_timeout` seconds after their last use.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_idle: int = MAX_IDLE,
        idle_timeout: float = IDLE_TIMEOUT,
    ) -> None:
        self._certificates = Certificates(ssl_context)
        self._max_idle = max_idle
        self._idle_timeout = idle_timeout
        self._pool: Pool | None = None

    def open(self, request: UpstreamRequest, timeouts: UpstreamTimeouts, *, decode: bool = True) -> Opening:
        if self._pool is None:
            self._pool = Pool(self._certificates, max_idle=self._max_idle, idle_timeout=self._idle_timeout)
        return Opening(self._pool, request, timeouts, decode=decode)

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()


class Opening:
    """See `aibridge.ports.OpenUpstream`."""

    __slots__ = ("_answer", "_connection", "_decode", "_pool", "_request", "_slot", "_timeouts")

    def __init__(self, pool: Pool, request: UpstreamRequest, timeouts: UpstreamTimeouts, *, decode: bool) -> None:
        self._pool = pool
        self._request = request
        self._timeouts = timeouts
        self._decode = decode
        self._connection: Connection | None = None
        self._answer: Answer | None = None
        self._slot: asyncio.Semaphore | None = None  # held, from before there is a connection until the block is left

    async def __aenter__(self) -> Answer:
        request, timeouts = self._request, self._timeouts
        place = _place(request.url, request.link)
        origin = place.origin
        head = _head(request, place)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeouts.first_byte
        try:
            connection = await self._connected(origin, deadline)
            sent = loop.time()
            try:
                answer = await self._answered(connection, head, deadline)
            except UpstreamUnreachable:
                if not connection.may_have_missed_it or loop.time() - sent > _CLOSED_MEANWHILE:
                    raise
                # It was closed for having been idle, as the request went out: nobody has read that.
                connection = await self._connecting(origin, deadline)
                answer = await self._answered(connection, head, deadline)
            if answer.status == 407 and place.proxy is not None:
                raise UpstreamUnreachable("the proxy did not take our credential for it (HTTP 407)")
        except BaseException:
            self._leave()
            raise
        return answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        # A connection whose answer was read to its end is in the pool again; any other is cut.
        if self._connection is not None and self._answer is not None:
            self._connection.abandon(self._answer)
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.release()

    async def _answered(self, connection: Connection, head: bytes, deadline: float) -> Answer:
        """Sends the request; returns when the head of the answer has come."""
        request = self._request
        self._connection = connection
        answer = self._answer = connection.send(
            head, request.body, self._timeouts, deadline, bodiless=request.method == "HEAD", decode=self._decode
        )
        await answer.head()
        return answer

    async def _connected(self, origin: Origin, deadline: float) -> Connection:
        slots = self._pool.slots(origin)
        if slots is None and (idle := self._pool.idle(origin)) is not None:
            return idle
        limit = self._timeouts.connect
        try:
            async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + limit)):
                if slots is not None:
                    await slots.acquire()
                    self._slot = slots
                    if (idle := self._pool.idle(origin)) is not None:
                        return idle
                return await self._pool.connect(origin)
        except TimeoutError:
            if slots is not None and self._slot is None:
                raise Refused(_all_in_use(limit)) from None
            raise UpstreamUnreachable(f"no connection to the provider within {limit:g} s") from None

    async def _connecting(self, origin: Origin, deadline: float) -> Connection:
        """A new connection, whatever lies idle: what one was closed for, the others may be closed for too."""
        limit = self._timeouts.connect
        try:
            async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + limit)):
                return await self._pool.connect(origin)
        except TimeoutError:
            raise UpstreamUnreachable(f"no connection to the provider within {limit:g} s") from None


def _all_in_use(waited: float) -> Problem:
    message = f"all connections that the provider may be given are in use (waited {waited:g} s)"
    return Problem(503, message, headers=[(b"retry-after", b"1")])


class _Place(NamedTuple):
    """What a URL says of a request: where it goes, and how its head begins behind the method."""

    origin: Origin
    beginning: bytes
    proxy: Proxy | None  # that is sent the request itself, with its whole URL; one that only carries https is not


@lru_cache(256)  # a provider has few addresses, but for those with ids in them
def _place(url: str, link: Link | None) -> _Place:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = parts.path or "/"
    if parts.query:
        target = f"{target}?{parts.query}"
    proxy = None if link is None or parts.scheme == "https" else link.proxy
    if proxy is not None:  # which is sent the whole URL (RFC 9112 section 3.2.2)
        target = f"http://{parts.netloc}{target}"
    beginning = f"{target} HTTP/1.1\r\nhost: {parts.netloc}".encode("ascii")
    return _Place(Origin(parts.scheme, parts.hostname or "", port, link), beginning, proxy)


def _head(request: UpstreamRequest, place: _Place) -> bytes:
    """The request's head. Values are bytes of the client's and go out as they are.

    Raises: InvalidRequest when a header would end its line, or the URL has what does not belong in it.
    """
    lines = [request.method.encode("ascii") + b" " + place.beginning]
    lines += [name + b": " + value for name, value in request.headers if name.lower() not in _OURS]
    if place.proxy is not None:
        lines += proxy_authorization(place.proxy)
    if request.body or request.method not in ("GET", "HEAD", "DELETE"):
        lines.append(b"content-length: %d" % len(request.body))
    head = b"\r\n".join(lines)
    ends = len(lines)  # the first one is two
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise InvalidRequest("a header value has a line break or NUL in it")
    return head + b"\r\n\r\n"

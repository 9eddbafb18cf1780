"""The way out to providers: HTTP/1.1 over pooled connections, parsed by httptools, nothing in between.

Nothing is added to a request but Host and Content-Length, no redirect is followed, no environment variable is read.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from types import TracebackType
from urllib.parse import SplitResult, urlsplit

from aibridge.errors import InvalidRequest, UpstreamUnreachable
from aibridge.ports import UpstreamRequest, UpstreamTimeouts
from aibridge.upstream.answer import Answer
from aibridge.upstream.connection import Connection
from aibridge.upstream.pool import Origin, Pool

__all__ = ["HttpUpstream"]

_OURS = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection"})


class HttpUpstream:
    """See `aibridge.ports.Upstream`. Binds to the running loop at the first request, not before.

    `ssl_context` verifies providers; by default the system's certificate authorities do.
    """

    def __init__(self, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl_context = ssl_context
        self._pool: Pool | None = None

    def open(self, request: UpstreamRequest, timeouts: UpstreamTimeouts, *, decode: bool = True) -> Opening:
        if self._pool is None:
            self._pool = Pool(self._ssl_context)
        return Opening(self._pool, request, timeouts, decode=decode)

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()


class Opening:
    """See `aibridge.ports.OpenUpstream`."""

    __slots__ = ("_answer", "_connection", "_decode", "_pool", "_request", "_timeouts")

    def __init__(self, pool: Pool, request: UpstreamRequest, timeouts: UpstreamTimeouts, *, decode: bool) -> None:
        self._pool = pool
        self._request = request
        self._timeouts = timeouts
        self._decode = decode
        self._connection: Connection | None = None
        self._answer: Answer | None = None

    async def __aenter__(self) -> Answer:
        request, timeouts = self._request, self._timeouts
        parts = urlsplit(request.url)
        origin = Origin(parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        head = _head(request, parts)
        deadline = asyncio.get_running_loop().time() + timeouts.first_byte
        connection = self._connection = await self._connected(origin, deadline)
        answer = self._answer = connection.send(
            head, request.body, timeouts, deadline, bodiless=request.method == "HEAD", decode=self._decode
        )
        try:
            await answer.head()
        except BaseException:
            connection.abandon(answer)
            raise
        return answer

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A connection whose answer was read to its end is in the pool again; any other is cut.
        if self._connection is not None and self._answer is not None:
            self._connection.abandon(self._answer)

    async def _connected(self, origin: Origin, deadline: float) -> Connection:
        connection = self._pool.idle(origin)
        if connection is not None:
            return connection
        limit = self._timeouts.connect
        try:
            async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + limit)):
                return await self._pool.connect(origin)
        except TimeoutError:
            raise UpstreamUnreachable(f"no connection to the provider within {limit:g} s") from None
        except ssl.SSLError as error:
            raise UpstreamUnreachable(
                f"the TLS connection to the provider failed ({error.reason or 'error'})"
            ) from None
        except UnicodeError:  # of a host name that is none (an empty or too long part)
            raise UpstreamUnreachable("the provider's host name cannot be resolved") from None
        except OSError as error:
            raise UpstreamUnreachable(_in_words(error)) from None


def _head(request: UpstreamRequest, parts: SplitResult) -> bytes:
    """The request's head. Values are bytes of the client's and go out as they are.

    Raises: InvalidRequest when a header would end its line, or the URL has what does not belong in it.
    """
    target = parts.path or "/"
    if parts.query:
        target = f"{target}?{parts.query}"
    lines = [f"{request.method} {target} HTTP/1.1".encode("ascii"), b"host: " + parts.netloc.encode("ascii")]
    lines += [name + b": " + value for name, value in request.headers if name.lower() not in _OURS]
    if request.body or request.method not in ("GET", "HEAD", "DELETE"):
        lines.append(b"content-length: %d" % len(request.body))
    head = b"\r\n".join(lines)
    ends = len(lines) - 1
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise InvalidRequest("a header value has a line break or NUL in it")
    return head + b"\r\n\r\n"


def _in_words(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the provider's host name cannot be resolved"
    return f"no connection to the provider ({error.strerror or type(error).__name__})"

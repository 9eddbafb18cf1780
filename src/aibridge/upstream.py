"""The way out to providers, on aiohttp. The only file of the data plane that imports an HTTP client.

Nothing is added to a request but Host and framing, no redirect is followed, no environment variable is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from aibridge.errors import Header, InvalidRequest, UpstreamReset, UpstreamStalled, UpstreamUnreachable
from aibridge.ports import UpstreamRequest, UpstreamTimeouts
from aibridge.wire.content_coding import CODINGS, Decoder, Undecodable

# Every header that aiohttp would add by itself.
_AUTOMATIC = frozenset({"Accept", "Accept-Encoding", "Content-Type", "User-Agent"})
_HEAD_LIMIT = 64 * 1024  # a line or field of the answer's head, in bytes; rate-limit and CSP headers grow
_READ_BUFFER = 64 * 1024  # aiohttp stops reading from the socket at twice this


class HttpUpstream:
    """See `aibridge.ports.Upstream`. Binds to the running loop at the first request, not before."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def open(self, request: UpstreamRequest, timeouts: UpstreamTimeouts, *, decode: bool = True) -> Opening:
        return Opening(self._started(), request, timeouts, decode=decode)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _started(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=_AUTOMATIC,
                read_bufsize=_READ_BUFFER,
                max_line_size=_HEAD_LIMIT,
                max_field_size=_HEAD_LIMIT,
            )
        return self._session


class Opening:
    """See `aibridge.ports.OpenUpstream`."""

    __slots__ = ("_decode", "_request", "_response", "_session", "_timeouts")

    def __init__(
        self, session: aiohttp.ClientSession, request: UpstreamRequest, timeouts: UpstreamTimeouts, *, decode: bool
    ) -> None:
        self._session = session
        self._request = request
        self._timeouts = timeouts
        self._decode = decode
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Response:
        request, timeouts = self._request, self._timeouts
        deadline = asyncio.get_running_loop().time() + timeouts.first_byte
        try:
            async with asyncio.timeout_at(deadline):
                self._response = await self._session.request(
                    request.method,
                    URL(request.url, encoded=True),
                    headers=_text_headers(request.headers),
                    data=request.body or None,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        total=None, sock_connect=timeouts.connect, sock_read=max(timeouts.stall, timeouts.first_byte)
                    ),
                )
        except aiohttp.ConnectionTimeoutError:
            raise UpstreamUnreachable(f"no connection to the provider within {timeouts.connect:g} s") from None
        except TimeoutError:
            raise UpstreamStalled(f"the provider sent nothing for {timeouts.first_byte:g} s") from None
        except aiohttp.ClientError as error:
            raise UpstreamUnreachable(_in_words(error)) from None
        except (OSError, ValueError) as error:
            raise UpstreamUnreachable(f"the provider cannot be reached ({type(error).__name__})") from None
        return Response(self._response, timeouts, deadline, decode=self._decode)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Closes the connection unless the body was read to its end: then it went back to the pool by itself.
        if self._response is not None:
            self._response.close()


class Response:
    """See `aibridge.ports.UpstreamResponse`."""

    __slots__ = ("_deadline", "_decoder", "_response", "_timeouts", "headers", "status")

    def __init__(
        self, response: aiohttp.ClientResponse, timeouts: UpstreamTimeouts, deadline: float, *, decode: bool
    ) -> None:
        self._response = response
        self._timeouts = timeouts
        self._deadline: float | None = deadline  # of the first byte of the body; None once it came
        self._decoder: Decoder | None = None
        self.status: int = response.status
        self.headers: Sequence[Header] = response.raw_headers
        coding = response.headers.get("Content-Encoding", "").strip().lower() if decode else ""
        if coding in CODINGS:  # an unknown coding passes as it is, and nobody can read it
            self._decoder = Decoder(coding)
            dropped = (b"content-encoding", b"content-length")
            self.headers = [header for header in response.raw_headers if header[0].lower() not in dropped]

    @property
    def at_end(self) -> bool:
        return self._response.content.at_eof()

    async def read(self) -> bytes:
        while True:
            try:
                chunk = await self._next()
            except TimeoutError:
                waited = self._timeouts.stall if self._deadline is None else self._timeouts.first_byte
                raise UpstreamStalled(f"the provider sent nothing for {waited:g} s") from None
            except (aiohttp.ClientError, OSError):
                raise UpstreamReset("the provider's answer broke off") from None
            if not chunk or self._decoder is None:
                return chunk
            try:
                decoded = self._decoder.decode(chunk)
            except Undecodable:
                raise UpstreamReset("the provider's answer cannot be decompressed") from None
            if decoded:
                return decoded

    async def _next(self) -> bytes:
        if self._deadline is None:
            return await self._response.content.readany()
        async with asyncio.timeout_at(self._deadline):
            chunk = await self._response.content.readany()
        self._deadline = None
        return chunk


def _text_headers(headers: Sequence[Header]) -> CIMultiDict[str]:
    """Headers as aiohttp takes them. It writes text as UTF-8, so bytes survive exactly when they are UTF-8."""
    try:
        return CIMultiDict((name.decode("ascii"), value.decode("utf-8")) for name, value in headers)
    except UnicodeDecodeError:
        raise InvalidRequest("a header value is not valid UTF-8") from None


def _in_words(error: aiohttp.ClientError) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "the provider's host name cannot be resolved"
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
            return "the TLS connection to the provider failed"
        case aiohttp.ClientConnectorError():
            return "no connection to the provider"
        case aiohttp.ServerDisconnectedError():
            return "the provider closed the connection before it answered"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return "the provider's answer is not valid HTTP"
        case _:
            return f"the provider cannot be reached ({type(error).__name__})"

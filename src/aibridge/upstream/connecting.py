"""From an origin to a connection: straight, or through a proxy. What fails is said in words that show no address.

A proxy that carries https sees host and port (CONNECT, RFC 9110 section 9.3.6); one that carries http is sent the
whole request, with the credential for it.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from aibridge.errors import UpstreamUnreachable
from aibridge.link import Link, Proxy
from aibridge.upstream.addresses import connected
from aibridge.upstream.certificates import Certificates, CertificatesUnusable

MAX_ANSWER = 16 * 1024
"""The largest answer of a proxy to CONNECT, in bytes; what it has to say is in the first line."""
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


async def connect(
    protocol: asyncio.Protocol, scheme: str, host: str, port: int, link: Link | None, certificates: Certificates
) -> None:
    """Connects `protocol` to an origin. Raises: UpstreamUnreachable."""
    try:
        tls = certificates.for_provider(link) if scheme == "https" else None
        proxy_tls = None
        if link is not None and link.proxy is not None and link.proxy.scheme == "https":
            proxy_tls = certificates.for_proxy(link)
    except CertificatesUnusable as error:
        raise UpstreamUnreachable(f"the certificates for the provider cannot be used ({error})") from None
    unready = _Unready()
    if link is None or link.proxy is None:
        with _reaching("the provider"):
            await _over(await connected(host, port), unready, tls, host)
        unready.make_way(protocol)
    elif tls is None:
        with _reaching("the proxy"):
            await _over(await connected(link.proxy.host, link.proxy.port), unready, proxy_tls, link.proxy.host)
        unready.make_way(protocol)
    else:
        transport = await _through(link.proxy, proxy_tls, protocol, tls, host, port)
        protocol.connection_made(transport)  # which `start_tls` leaves to us


def proxy_authorization(proxy: Proxy) -> tuple[bytes, ...]:
    """The header lines that a proxy is sent with whatever it is asked for: one, or none."""
    if proxy.authorization is None:
        return ()
    return (b"proxy-authorization: " + proxy.authorization.reveal().encode("ascii"),)


class _Unready(asyncio.Protocol):
    """Stands in until there is a request to be answered. An answer that comes before is kept for whom it is for.

    That happens: a server that has too many connections says so at once.
    """

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._early = bytearray()
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes, only alike. It reads on all the same.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        self._early += data
        assert self._transport is not None
        self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._over = True
        assert self._transport is not None
        return self._transport.get_extra_info("sslcontext") is None  # TLS cannot be kept half open

    def make_way(self, protocol: asyncio.Protocol) -> None:
        """Hands over to `protocol`, which is fed once the caller has let the loop go on."""
        assert self._transport is not None
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        if self._early or self._over:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._feed, protocol)
        elif not self._transport.is_closing():
            # At once: what TLS has taken in while nobody reads it forgets when the connection then ends.
            self._transport.resume_reading()

    def _feed(self, protocol: asyncio.Protocol) -> None:
        assert self._transport is not None
        if self._early:
            protocol.data_received(bytes(self._early))
        if self._over:
            self._transport.close()
        if not self._transport.is_closing():
            self._transport.resume_reading()


async def _over(
    sock: socket.socket, protocol: asyncio.Protocol, tls: ssl.SSLContext | None, host: str
) -> asyncio.Transport:
    """Raises: OSError."""
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_connection(
            lambda: protocol, sock=sock, ssl=tls, server_hostname=None if tls is None else host
        )
    except BaseException:
        sock.close()
        raise
    return transport


async def _through(
    proxy: Proxy,
    proxy_tls: ssl.SSLContext | None,
    protocol: asyncio.Protocol,
    tls: ssl.SSLContext,
    host: str,
    port: int,
) -> asyncio.Transport:
    """A transport whose other end is the provider. Raises: UpstreamUnreachable."""
    asked = _Asked()
    with _reaching("the proxy"):
        tunnel = await _over(await connected(proxy.host, proxy.port), asked, proxy_tls, proxy.host)
    try:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = (f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}".encode("ascii"), *proxy_authorization(proxy))
        tunnel.write(b"\r\n".join(lines) + b"\r\n\r\n")
        await asked.opened
        if tunnel.is_closing():  # nobody would tell the handshake
            raise UpstreamUnreachable("the proxy closed the connection")
        with _reaching("the provider"):
            transport = await asyncio.get_running_loop().start_tls(tunnel, protocol, tls, server_hostname=host)
            assert transport is not None
    except TypeError:
        # What asyncio before 3.11.8 and 3.12.2 makes of a handshake that fails within another TLS connection
        # (python/cpython issue 113214).
        tunnel.abort()
        raise UpstreamUnreachable("the TLS connection to the provider failed") from None
    except BaseException:
        tunnel.abort()
        raise
    return transport


class _Asked(asyncio.Protocol):
    """Waits for a proxy's answer to CONNECT."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = bytearray()

    def data_received(self, data: bytes) -> None:
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > MAX_ANSWER:
                self._decide("the proxy's answer is not valid HTTP")
            return
        found = _STATUS.match(self._head)
        if found is None:
            self._decide("the proxy's answer is not valid HTTP")
        elif found[1] == b"407":
            self._decide("the proxy did not take our credential for it (HTTP 407)")
        elif not found[1].startswith(b"2"):
            self._decide(f"the proxy opened no way to the provider (HTTP {found[1].decode()})")
        elif len(self._head) > end + 4:
            # In TLS the client speaks first: this cannot be the provider.
            self._decide("the proxy sent what does not belong there")
        else:
            self._decide(None)

    def connection_lost(self, _error: Exception | None) -> None:
        self._decide("the proxy closed the connection")

    def _decide(self, fault: str | None) -> None:
        if self.opened.done():
            return
        if fault is None:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(UpstreamUnreachable(fault))


@contextmanager
def _reaching(whom: str) -> Iterator[None]:
    """Says in our words what the system says of a connection."""
    try:
        yield
    except ssl.SSLError as error:
        raise UpstreamUnreachable(f"the TLS connection to {whom} failed ({error.reason or 'error'})") from None
    except (UnicodeError, socket.gaierror):  # the first of a host name that is none (an empty or too long part)
        raise UpstreamUnreachable(f"{whom}'s host name cannot be resolved") from None
    except OSError as error:
        raise UpstreamUnreachable(f"no connection to {whom} ({error.strerror or type(error).__name__})") from None

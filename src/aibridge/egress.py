"""Checked ways out to addresses that people configure or that servers name: MCP servers, and what they refer to.

The rule: a connection goes to the very address that was checked. A host name is resolved once for each request, what
must not be reached is dropped, and the rest is connected to by number; the name stays in TLS and in `Host`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

import httpx2

Address = IPv4Address | IPv6Address
Trusted = ssl.SSLContext
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

_RESOLVING = 5.0  # seconds; a resolver that is asked for longer has given up twice
# IPv4 inside of IPv6 as translators have it (RFC 6052): who reaches one reaches the other.
_NAT64 = IPv6Network("64:ff9b::/96")


class AddressRefused(httpx2.ConnectError):
    """A URL leads where it must not, or nowhere. The text names the host and the reason."""


def check_url(url: str, *, allow_private: bool) -> None:
    """Whether a URL may be configured, as far as can be said without asking for its address.

    Raises:
        ValueError: what is wrong with it, and what is allowed.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("must be an https:// URL")
    if parts.scheme == "http" and not allow_private:
        raise ValueError("must be an https:// URL (http:// only with allow_private, to private addresses)")
    literal = _literal(parts.hostname)
    if literal is not None:
        why = refusal(literal, allow_private=allow_private, named=True, plain=parts.scheme == "http")
        if why is not None:
            raise ValueError(f"{parts.hostname} {why}")


def check_discovered_url(url: str, *, beside: str, allow_private: bool) -> None:
    """The same of a URL in a document that somebody else wrote, found at `beside`, which was configured.

    An address in numbers is as good as a name that leads there: whoever wrote the document chose it, nobody here.

    Raises:
        ValueError: as `check_url`.
    """
    check_url(url, allow_private=allow_private)
    parts = urlsplit(url)
    host = parts.hostname or ""
    literal = _literal(host)
    if literal is not None and host != urlsplit(beside).hostname:
        why = refusal(literal, allow_private=allow_private, named=False, plain=parts.scheme == "http")
        if why is not None:
            raise ValueError(f"{host} {why}")


def refusal(address: Address, *, allow_private: bool, named: bool, plain: bool) -> str | None:
    """Why an address must not be connected to; None: it may. `named`: the URL itself has it. `plain`: without TLS."""
    inner = _embedded(address)
    if inner is not None:
        return refusal(inner, allow_private=allow_private, named=named, plain=plain)
    if address.is_multicast or address.is_unspecified:
        return "is no address of a server"
    if address.is_global:
        return "is public: http:// would show everybody on the way what is said" if plain else None
    if not allow_private:
        return "is a private address (allow_private lets it be reached)"
    if address.is_link_local and not named:
        # Where clouds tell each machine its credentials: no name that somebody else resolves may lead there.
        return "is a link-local address, which only a URL that names it leads to"
    return None


def _embedded(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None if address.teredo is None else address.teredo[1]


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def trusted(ca_bundle: str | None = None) -> Trusted:
    """The authorities in a file, or those that this machine trusts. To be made once: it takes 50 ms and a megabyte.

    Raises:
        OSError: the file cannot be read, or holds no certificates.
    """
    return httpx2.create_ssl_context() if ca_bundle is None else ssl.create_default_context(cafile=ca_bundle)


async def resolved(host: str, port: int) -> Sequence[str]:
    """The addresses of a host, as the machine's resolver gives them. Raises: OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedTransport(httpx2.AsyncBaseTransport):
    """A transport for `httpx2.AsyncClient(transport=..., trust_env=False)`. It follows no redirect and takes no proxy.

    Args:
        trusted: the authorities whose certificates are good.
        allow_private: whether addresses of private networks and of this machine may be reached, also without TLS.
        resolve: finds the addresses of a host.
    """

    def __init__(self, trusted: Trusted, *, allow_private: bool, resolve: Resolve = resolved) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._inner = httpx2.AsyncHTTPTransport(verify=trusted)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises: AddressRefused, httpx2.TransportError."""
        host = request.url.raw_host.decode("ascii")
        addresses = await self._allowed(request.url, host)
        for last, address in zip((*[False] * (len(addresses) - 1), True), addresses, strict=True):
            numbered = httpx2.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,  # with the `Host` of the name
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await self._inner.handle_async_request(numbered)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                if last:
                    raise
        raise AddressRefused(f"{host} has no address")

    async def _allowed(self, url: httpx2.URL, host: str) -> list[str]:
        if url.scheme not in ("https", "http") or (url.scheme == "http" and not self._allow_private):
            raise AddressRefused(f"{host} must be reached by https://")
        literal = _literal(host.strip("[]"))
        named = literal is not None
        candidates = [literal] if literal is not None else await self._found(host, url.port or 443)
        why, allowed = "has no address", []
        for address in candidates:
            refused = refusal(address, allow_private=self._allow_private, named=named, plain=url.scheme == "http")
            if refused is None:
                allowed.append(str(address))
            else:
                why = refused
        if not allowed:
            raise AddressRefused(f"{host} {why}")
        return allowed

    async def _found(self, host: str, port: int) -> list[Address]:
        try:
            async with asyncio.timeout(_RESOLVING):
                texts = await self._resolve(host, port)
        except (OSError, TimeoutError):
            raise AddressRefused(f"{host} has no address that can be found") from None
        # A scope (`fe80::1%eth0`) is only on link-local addresses, which no name may lead to.
        return [address for text in texts if (address := _literal(text)) is not None]

    async def aclose(self) -> None:
        await self._inner.aclose()

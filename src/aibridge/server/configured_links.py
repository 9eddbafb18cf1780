"""How each provider is reached, out of the configuration and of the environment's proxies; checked at the start.

`HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are read here, once; what they say is settled before the first request.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from aibridge.link import Link, Proxy
from aibridge.server.config import At, Configuration, Wrong
from aibridge.server.config.values import Unresolved, resolved

_FILES = ("ca_bundle", "client_cert", "client_key")


def configured_link(configuration: Configuration, index: int, base_url: str, environ: Mapping[str, str]) -> Link | None:
    """The link of the provider at `index`; None when nothing is said of it. Raises: Wrong."""
    table = configuration.settings.providers[index]
    at: At = ("providers", index)
    files = {name: _path(getattr(table, name), configuration.base) for name in _FILES}
    at_fault = at
    if files["ca_bundle"] is None:
        files["ca_bundle"] = _path(configuration.settings.upstream.ca_bundle, configuration.base)
        if files["client_cert"] is None:
            at_fault = ("upstream",)
    if table.proxy is None:
        proxy = environment_proxy(base_url, environ)
    else:
        proxy = _said(table.proxy, configuration, (*at, "proxy"), environ)
    try:
        link = Link(proxy=proxy, max_connections=table.max_connections, **files)
    except ValueError as error:
        raise Wrong(f"{configuration.place(at)}: {error}") from None
    if link == Link():
        return None
    if any(files.values()):
        from aibridge.upstream import certificates  # noqa: PLC0415  only where there is something to read

        try:
            certificates.check(link)
        except certificates.CertificatesUnusable as error:
            raise Wrong(f"{configuration.place(at_fault)}: {error}") from None
    return link


def environment_proxy(base_url: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy that the environment names for a URL. Names in small letters are stronger, as with curl. Raises: Wrong."""
    parts = urlsplit(base_url)
    name = f"{parts.scheme}_proxy"
    variable = name if environ.get(name) else name.upper()
    url = environ.get(variable)
    if not url or _is_excepted(parts.hostname or "", parts.port, parts.scheme, environ):
        return None
    try:
        return Proxy.at(url)
    except ValueError as error:
        raise Wrong(f'{variable}: {error}; with proxy = "" in its table a provider is reached without one') from None


def _said(reference: str, configuration: Configuration, at: At, environ: Mapping[str, str]) -> Proxy | None:
    if not reference:
        return None
    try:
        return Proxy.at(resolved(reference, environ, configuration.base).reveal())
    except Unresolved as error:
        raise Wrong(f"{configuration.place(at)}: {error}") from None
    except ValueError as error:
        raise Wrong(f"{configuration.place(at)}: {error}") from None


def _is_excepted(host: str, port: int | None, scheme: str, environ: Mapping[str, str]) -> bool:
    """True for this machine itself, and for what NO_PROXY lists."""
    host = host.rstrip(".")
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    entries = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    port = port or (443 if scheme == "https" else 80)
    return any(_covers(entry, host, port) for entry in entries.replace(",", " ").split())


def _covers(entry: str, host: str, port: int) -> bool:
    """`*`, a domain with what is below it, an address, a network (`10.0.0.0/8`); each but the first also with a port."""
    entry = entry.lower()
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ip_network(entry, strict=False)
        except ValueError:
            return False
    if _address(entry) is None:  # else a colon belongs to the address
        entry, colon, its_port = entry.rpartition(":") if ":" in entry else (entry, "", "")
        if colon and its_port != str(port):
            return False
    entry = entry.removeprefix("[").removesuffix("]")
    if address is not None:
        return _address(entry) == address
    domain = entry.lstrip("*").strip(".")
    return bool(domain) and (host == domain or host.endswith(f".{domain}"))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


def _path(said: str | None, base: Path) -> str | None:
    return None if not said else str(base / Path(said).expanduser())

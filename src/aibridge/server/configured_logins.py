"""People's own logins at MCP servers, out of the configuration: where our pages are, and what keeps the tokens.

Addresses of pages come from `server.public_url`, or from the socket that we listen on; never from what a client says.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from aibridge.clock import new_id
from aibridge.credentials import Secret
from aibridge.database.files import DatabaseFile
from aibridge.ports import Clock
from aibridge.server.config import Configuration, Wrong
from aibridge.server.people import People
from aibridge.server.sealing import Sealing
from aibridge.server.server_secret import derived_key
from aibridge.stores.logins import SqliteLogins

if TYPE_CHECKING:
    from aibridge.mcp import McpServer
    from aibridge.mcp.authorization import AuthorizationFor
    from aibridge.mcp.oauth.logins import Logins

MOUNT = "/api/v2/aibridge"
CALLBACK = f"{MOUNT}/oauth/callback"
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True, slots=True)
class PagesOfLogins:
    """What the pages need. `address` is where they are: scheme, host and port."""

    logins: Logins
    people: People
    address: str
    session_key: bytes = field(repr=False)


def login_page(address: str, server: str) -> str:
    """The page where somebody logs in at a server."""
    return f"{address}{MOUNT}/mcp/{server}/login"


def check_logins(configuration: Configuration) -> None:
    """Whether people can come to our pages and back. Raises: Wrong."""
    server = configuration.settings.server
    where = configuration.place(("server", "public_url"))
    if server.public_url:
        parts = _parts(server.public_url)
        if parts is None or parts.scheme not in ("https", "http") or parts.username is not None:
            raise Wrong(f"{where}: must be https://HOST, with a port if it is another than 443")
        if not parts.netloc.isascii():  # browsers say `xn--`, and what they say is compared
            raise Wrong(f"{where}: must be written in ASCII, as browsers send it (xn--...)")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise Wrong(f"{where}: must have no path: https://HOST or https://HOST:PORT")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise Wrong(f"{where}: must be https:// (http:// only with localhost, 127.0.0.1 or [::1])")
        return
    if _is_local(server.host):
        return
    for index, table in enumerate(configuration.settings.mcp_servers):
        if table.auth == "oauth":
            place = configuration.place(("mcp_servers", index, "auth"))
            raise Wrong(
                f'{place}: must not be "oauth" without server.public_url, where people\'s browsers find this server'
            )


def pages_address(configuration: Configuration, listening: socket.socket | None = None) -> str:
    """Where our pages are: the public URL, or the loopback address of what listens, or is configured to."""
    server = configuration.settings.server
    if server.public_url:
        parts = urlsplit(server.public_url.lower())
        # As browsers say it in `Origin`, which forms are held against: without the scheme's own port.
        usual = {"https": ":443", "http": ":80"}[parts.scheme]
        return f"{parts.scheme}://{parts.netloc.removesuffix(usual).removesuffix(':')}"
    port, host = server.port, server.host
    if listening is not None:
        name: Any = listening.getsockname()
        if isinstance(name, tuple):
            host, port = str(name[0]), int(name[1])
    if not _is_local(host):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _parts(url: str) -> SplitResult | None:
    """None: there is no host in it, half an IPv6 address, or no port in the place of one."""
    try:
        parts = urlsplit(url)
        is_address = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if is_address else None


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@asynccontextmanager
async def opened_logins(
    servers: Iterable[McpServer], secret: Secret, file: DatabaseFile, clock: Clock, address: str, ca_bundle: str | None
) -> AsyncIterator[Logins | None]:
    """The logins at `servers`; None: nobody logs in at any of them."""
    wanted = {server.name: server for server in servers if server.auth == "oauth"}
    if not wanted:
        yield None
        return
    from aibridge.mcp.oauth.logins import Logins  # noqa: PLC0415  only where somebody logs in

    cipher = Sealing(derived_key(secret, "encryption at rest"))
    with closing(SqliteLogins(file, cipher=cipher, clock=clock, ids=new_id)) as store:
        page, back = partial(login_page, address), f"{address}{CALLBACK}"
        async with Logins(wanted, store, redirect_uri=back, page=page, clock=clock, ca_bundle=ca_bundle) as logins:
            yield logins


def pages_of_logins(secret: Secret, logins: Logins | None, people: People, address: str) -> PagesOfLogins | None:
    """What the pages need; None: there are none."""
    return None if logins is None else PagesOfLogins(logins, people, address, derived_key(secret, "page sessions"))


def authorization_with(logins: Logins | None, clock: Clock) -> AuthorizationFor:
    """What servers are shown: each person's token where people log in."""
    if logins is None:
        from aibridge.mcp.authorization import fixed_authorization  # noqa: PLC0415  it needs an HTTP client

        return fixed_authorization
    from aibridge.mcp.oauth.authorization import authorization_of  # noqa: PLC0415  as above

    return authorization_of(logins, clock)

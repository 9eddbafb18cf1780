"""How a provider's servers are reached, as a value: through which proxy, trusting whom, as whom, how many at a time.

Names files and reads none. What may authenticate us at the proxy never shows itself.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote_to_bytes, urlsplit

from aibridge.credentials import Secret

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_WITH_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `authorization` is the value of the header that it is sent."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    authorization: Secret | None = field(default=None, repr=False)
    password: Secret | None = field(default=None, repr=False)

    @classmethod
    def at(cls, url: str) -> Proxy:
        """The proxy of `http://[USER:PASSWORD@]HOST[:PORT]`, or `https://...`; without a scheme it is http.

        Raises: ValueError. Its text does not show the URL, which may hold a password.
        """
        if not _PRINTABLE.fullmatch(url):
            raise ValueError("must be printable ASCII without spaces")
        try:
            parts = urlsplit(url if _WITH_SCHEME.match(url) else f"http://{url}")
            port = parts.port
        except ValueError:
            raise ValueError("is not a URL") from None
        scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
        if parts.scheme != scheme or not parts.hostname or port == 0:
            raise ValueError("must be http://HOST[:PORT] or https://HOST[:PORT], with USER:PASSWORD@ before HOST")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("must not have a path, a query or a fragment")
        authorization = password = None
        if "@" in parts.netloc:
            user, _, said = (unquote_to_bytes(part) for part in parts.netloc.rpartition("@")[0].partition(":"))
            # RFC 7617 section 2: the user's name has no colon, the password may.
            if b":" in user:
                raise ValueError("must not have a colon in the user's name")
            authorization = Secret("Basic " + base64.b64encode(user + b":" + said).decode("ascii"))
            password = Secret(said.decode("utf-8", "replace")) if said else None
        default = 443 if scheme == "https" else 80
        return cls(scheme, parts.hostname, port or default, authorization, password)

    @property
    def address(self) -> str:
        """Where it is, for people to read."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """How one provider is reached. Files are PEM; a changed one is read again for the next connection.

    Raises: ValueError, whose text says which field is wrong.
    """

    proxy: Proxy | None = None
    ca_bundle: str | None = None  # these authorities and no others; None: the system's
    client_cert: str | None = None  # with its chain
    client_key: str | None = None  # None: it is in the file of the certificate
    max_connections: int = 0  # at a time, to one address; 0: as many as there are requests

    def __post_init__(self) -> None:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key: needs a client_cert")
        if self.max_connections < 0:
            raise ValueError("max_connections: 0 or more")

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be found nowhere else."""
        if self.proxy is None or self.proxy.authorization is None:
            return ()
        token = self.proxy.authorization.reveal().removeprefix("Basic ")
        return (token,) if self.proxy.password is None else (token, self.proxy.password.reveal())

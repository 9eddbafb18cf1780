"""What passes between a connection and the application (asgi.readthedocs.io, HTTP & WebSocket, version 3)."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

Address: TypeAlias = tuple[str, int]
Headers: TypeAlias = list[tuple[bytes, bytes]]
RequestLine: TypeAlias = tuple[str, bytes, str]  # method, target, version: "1.1" or "1.0"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The two ends of a connection. An end is None when it has no address, or is gone already."""

    scheme: str
    client: Address | None
    server: Address | None


def http_scope(line: RequestLine, headers: Headers, endpoints: Endpoints) -> Scope:
    """The scope of one request; `headers` becomes the application's."""
    method, target, version = line
    raw_path, _, query = target.partition(b"?")
    path = raw_path.decode("ascii")
    return {
        "type": "http",
        # 2.4: a send after the client has gone raises an OSError.
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": version,
        "method": method,
        "scheme": endpoints.scheme,
        "path": unquote(path) if "%" in path else path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": endpoints.client,
        "server": endpoints.server,
    }

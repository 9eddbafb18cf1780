"""Asks the server of this configuration for a page of its API, from a command beside it."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

import msgspec

from aibridge.errors import UpstreamFailure
from aibridge.ports import UpstreamRequest, UpstreamTimeouts
from aibridge.server.config import Configuration
from aibridge.server.first_keys import ADMIN_FILE
from aibridge.server.persons import NotPossible
from aibridge.server.private_files import read
from aibridge.upstream import HttpUpstream

Shape = TypeVar("Shape")
_MOUNT = "/api/v2/aibridge"
_DEADLINE = 5.0  # seconds; it is on this machine, mostly


async def asked_server(
    configuration: Configuration, page: str, shape: type[Shape], *, url: str | None, key_file: Path | None
) -> Shape | str:
    """The page; or why there is none, in words, where nobody said where the server is or with which key to ask.

    Raises: NotPossible, PrivateFileUnusable.
    """
    explicit = url is not None or key_file is not None
    path = key_file or configuration.data / ADMIN_FILE
    key = read(path)
    if key is None:
        why = f"there is no key in {path} to ask a server with"
    else:
        found = await _page(f"{url or _address(configuration)}{_MOUNT}{page}", key, shape)
        if not isinstance(found, str):
            return found
        why = found
    if explicit:
        raise NotPossible(why)
    return why


def _address(configuration: Configuration) -> str:
    """Where a server of this configuration listens, as seen from this machine."""
    server = configuration.settings.server
    host = server.host
    try:
        address = ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    except ValueError:
        pass  # a name
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


async def _page(url: str, key: str, shape: type[Shape]) -> Shape | str:
    request = UpstreamRequest("GET", url, [(b"authorization", f"Bearer {key}".encode())], b"")
    upstream = HttpUpstream()
    where = url.partition(_MOUNT)[0]
    try:
        async with (
            asyncio.timeout(_DEADLINE),
            upstream.open(request, UpstreamTimeouts(_DEADLINE, _DEADLINE, _DEADLINE)) as response,
        ):
            body = bytearray()
            while chunk := await response.read():
                body += chunk
            if response.status != 200:
                return f"the server at {where} answers HTTP {response.status}"
            return msgspec.json.decode(bytes(body), type=shape)
    except msgspec.DecodeError:
        return f"what is at {where} is no aibridge server of this version"
    except (UpstreamFailure, TimeoutError):
        return f"no server answers at {where}"
    finally:
        await upstream.close()

"""Requests to the addresses that a login leads to: each one checked, none redirected, no answer larger than is read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2

from aibridge.egress import AddressRefused, CheckedTransport, Trusted
from aibridge.mcp.oauth.values import LoginFailed

_TIMEOUT = 10.0  # seconds
_LARGEST = 256 * 1024  # bytes; a registration or a list of keys has a few thousand


class Unanswered(LoginFailed):
    """There was no answer, or none that can be read. Nothing is known about what was asked."""


class Fetching:
    """HTTP for the logins of one MCP server."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def get(self, url: str) -> httpx2.Response:
        """Raises: Unanswered."""
        return await self._answer("GET", url, {"accept": "application/json"}, None)

    async def post(self, url: str, body: bytes, content_type: str, more: Mapping[str, str]) -> httpx2.Response:
        """Raises: Unanswered."""
        headers = {"accept": "application/json", "content-type": content_type, **more}
        return await self._answer("POST", url, headers, body)

    async def _answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> httpx2.Response:
        headers = {**headers, "accept-encoding": "identity"}  # a small answer must not become a large one
        content = bytearray()
        try:
            async with self._http.stream(method, url, headers=headers, content=body) as response:
                if response.headers.get("content-type", "").startswith("text/event-stream"):
                    return httpx2.Response(response.status_code, headers=response.headers)
                async for part in response.aiter_raw():
                    content += part
                    if len(content) > _LARGEST:
                        raise Unanswered(f"{_host(url)} answers with more than is read")
        except AddressRefused as error:
            raise Unanswered(str(error)) from None
        except (httpx2.HTTPError, httpx2.InvalidURL):
            raise Unanswered(f"{_host(url)} does not answer") from None
        kept = {name: value for name, value in response.headers.items() if name in ("www-authenticate", "content-type")}
        return httpx2.Response(response.status_code, headers=kept, content=bytes(content))


def _host(url: str) -> str:
    try:
        return httpx2.URL(url).host or "the address"
    except httpx2.InvalidURL:
        return "the address"


@asynccontextmanager
async def fetching(trust: Trusted, *, allow_private: bool) -> AsyncIterator[Fetching]:
    """For a few requests; each connects to the very address that was checked for it."""
    transport = CheckedTransport(trust, allow_private=allow_private)
    async with httpx2.AsyncClient(
        transport=transport, timeout=_TIMEOUT, trust_env=False, follow_redirects=False
    ) as http:
        yield Fetching(http)

"""A client of the gateway that sees every byte: what came, and whether it came to its proper end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.exchanges import Exchange
from tests.house.in_process import ADA
from tests.server.http.raw import RawClient, Reply, connected

BOUND = 20.0  # seconds; nothing here takes two, the machine may


@dataclass
class Received:
    """`whole`: the framing says that nothing is missing."""

    status: int
    headers: list[tuple[str, str]]
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


class Waiting:
    """A request that was sent; its answer is read as far as a test wants."""

    def __init__(self, client: RawClient) -> None:
        self._client = client
        self._head: Reply | None = None

    async def head(self) -> Reply:
        if self._head is None:
            async with asyncio.timeout(BOUND):
                self._head = await self._client.reply(to_head=True)
        return self._head

    async def until(self, size: int) -> bytes:
        """So many bytes of the body, or more."""
        head = await self.head()
        assert head.header("transfer-encoding") == "chunked"
        body = b""
        while len(body) < size:
            chunk = await self._client.chunk()
            assert chunk, f"the body ended after {len(body)} bytes"
            body += chunk
        return body

    async def rest(self, *, keep: bool = True) -> Received:
        """The whole answer. `keep` holds the body; else only its first and last 64 KiB are kept."""
        head = await self.head()
        received = Received(head.status, head.headers)
        length = head.header("content-length")
        try:
            async with asyncio.timeout(BOUND):
                if length is not None:
                    received.body += await self._client.reader.readexactly(int(length))
                else:
                    while chunk := await self._client.chunk():
                        received.body += chunk
                        if not keep and len(received.body) > 262_144:
                            del received.body[65_536:-65_536]
            received.whole = True
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        return received


@asynccontextmanager
async def sent(url: str, exchange: Exchange, *, stream: bool, body: bytes | None = None) -> AsyncIterator[Waiting]:
    """One request on a connection of its own, which is cut off when the block is left."""
    parts = urlsplit(url)
    assert parts.port is not None
    content = exchange.asked(stream=stream) if body is None else body
    async with connected(parts.port) as client:
        head = (
            f"POST /{exchange.provider}{exchange.path} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {ADA}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        await client.send(head.encode() + content)
        yield Waiting(client)

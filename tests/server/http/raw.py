"""A client that writes bytes and reads bytes, and small applications for it to talk to. Every wait has a bound."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aibridge.server.http.asgi import Application, Message, Receive, Scope, Send
from aibridge.server.http.limits import Deadlines, Limits
from aibridge.server.http.serving import HttpServer, running
from aibridge.server.http.sockets import bind

BOUND = 10.0  # seconds; nothing here takes one, the machine may
GET = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} occurs {len(values)} times"
        return values[0] if values else None


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(BOUND):
            await self.writer.drain()

    async def reply(self, *, to_head: bool = False) -> Reply:
        async with asyncio.timeout(BOUND):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *fields = head[:-4].split("\r\n")
            headers = [(name.lower(), value.strip()) for name, _, value in (entry.partition(":") for entry in fields)]
            reply = Reply(int(line.split()[1]), headers, b"")
            return reply if to_head else Reply(reply.status, headers, await self._body(reply))

    async def _body(self, reply: Reply) -> bytes:
        if reply.status in (100, 204, 304):
            return b""
        if reply.header("transfer-encoding") == "chunked":
            body = b""
            while chunk := await self.chunk():
                body += chunk
            return body
        length = reply.header("content-length")
        return await self.reader.readexactly(int(length)) if length is not None else await self.reader.read()

    async def chunk(self) -> bytes:
        async with asyncio.timeout(BOUND):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            data = await self.reader.readexactly(size + 2)
            return data[:-2]

    async def rest(self) -> bytes:
        """What comes until the server ends the connection; a reset ends it too."""
        async with asyncio.timeout(BOUND):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    def close(self) -> None:
        self.writer.close()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def unread(port: int, request: bytes) -> AsyncIterator[socket.socket]:
    """A client with a small buffer that has sent a request and reads only what the test reads."""
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", port))
        await loop.sock_sendall(sock, request)
        yield sock


@asynccontextmanager
async def served(
    app: Application, *, limits: Limits | None = None, deadlines: Deadlines | None = None, **options: Any
) -> AsyncIterator[HttpServer]:
    """A server on a free port; leaving the block cuts off what still runs."""
    chosen = limits or Limits(deadlines=deadlines or Deadlines())
    async with running(HttpServer(app, sockets=bind("127.0.0.1", 0), limits=chosen, **options)) as server:
        try:
            yield server
        finally:
            server.end_now()


async def read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        body += bytes(message["body"])
        if not message["more_body"]:
            return body


async def respond(send: Send, body: bytes, *, status: int = 200, headers: Any = ()) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-length", b"%d" % len(body)), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


@dataclass
class Echo:
    """Answers with the request's body and keeps what it was asked."""

    scopes: list[Scope] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    disconnects: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        try:
            body = await read_body(receive)
        except ConnectionResetError:
            self.disconnects += 1
            return
        self.bodies.append(body)
        await respond(send, body)


@dataclass
class Stream:
    """Streams what the test puts in; says when it was asked, and when its client is gone."""

    chunks: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        self.asked.set()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(receive))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while (chunk := await self.chunks.get()) is not None:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            watching.cancel()

    async def _watch(self, receive: Receive) -> None:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            self.gone.set()
            self.chunks.put_nowait(None)


@dataclass
class Endless:
    """Streams as fast as it may until its client is gone; counts what it could send."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await read_body(receive)
        self.asked.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(receive))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while not self.gone.is_set():
                await send({"type": "http.response.body", "body": b"x" * 16_384, "more_body": True})
                self.sent += 16_384
                await asyncio.sleep(0)

    async def _watch(self, receive: Receive) -> None:
        await receive()
        self.gone.set()


async def within(awaitable: Any) -> Any:
    async with asyncio.timeout(BOUND):
        return await awaitable

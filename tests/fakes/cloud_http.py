"""HTTP as a cloud of a test's speaks it: requests as they came, answers as they are written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """One request as it came over the socket. `signed` are the names that its signature covers; None: it has none."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    access_key: str | None = None
    signed: frozenset[str] = frozenset()
    valid: bool = False

    @property
    def json(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.body)
        return found


@dataclass(frozen=True)
class Answer:
    """`pieces` are written one by one; an event holds the writer. `cut`: the connection breaks after them."""

    pieces: Sequence[bytes | asyncio.Event]
    status: int = 200
    headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),)
    cut: bool = False


@asynccontextmanager
async def cloud_on_loopback(answered: Callable[[Asked], Awaitable[Answer]]) -> AsyncIterator[str]:
    """The URL at which every request is answered so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (asked := await read_request(reader)) is not None:
                if not await write_answer(writer, await answered(asked)):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def read_request(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ")
    return Asked(method, target, headers, body)


async def write_answer(writer: asyncio.StreamWriter, answer: Answer) -> bool:
    """False: the connection is to be closed."""
    writer.write(f"HTTP/1.1 {answer.status} X\r\n".encode())
    for name, value in (*answer.headers, (b"transfer-encoding", b"chunked")):
        writer.write(name + b": " + value + b"\r\n")
    writer.write(b"\r\n")
    for piece in answer.pieces:
        if isinstance(piece, asyncio.Event):
            await writer.drain()
            await piece.wait()
        elif piece:
            writer.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
            await writer.drain()
    if answer.cut:
        return False
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True

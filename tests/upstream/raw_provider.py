"""A provider made of a bare socket: what it sends is what a test writes, to the byte. Every wait has a bound."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from aibridge.errors import Header
from aibridge.ports import UpstreamRequest, UpstreamTimeouts
from aibridge.upstream import HttpUpstream
from tests.fakes.listening import listening
from tests.waiting import BOUND

PATIENT = UpstreamTimeouts(connect=BOUND, first_byte=BOUND, stall=BOUND)
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Peer:
    """One connection of a client, seen from the provider's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []

    async def request(self) -> bytes:
        """Reads one request; returns its head."""
        head = await self.head()
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        self.bodies.append(await self.read(int(lengths[0].split(b":")[1])) if lengths else b"")
        self.heads.append(head)
        return head

    async def head(self) -> bytes:
        """Reads the head of a request and nothing of its body."""
        async with asyncio.timeout(BOUND):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def read(self, size: int) -> bytes:
        async with asyncio.timeout(BOUND):
            return await self._reader.readexactly(size)

    async def send(self, *pieces: bytes) -> None:
        """Each piece goes out in a write of its own, and is gone before the next one."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    @property
    def waiting(self) -> int:
        """How many bytes the client's side does not take at the moment, beyond what the kernel holds."""
        return self._writer.transport.get_write_buffer_size()

    def end(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """Breaks the connection off with a TCP reset."""
        connected: socket.socket = self._writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> int:
        """Returns when the client has closed the connection: how many bytes it still sent."""
        size = 0
        async with asyncio.timeout(BOUND):
            try:
                while data := await self._reader.read(65536):
                    size += len(data)
            except ConnectionError:
                pass
        return size


Script: TypeAlias = Callable[[Peer], Awaitable[None]]


@dataclass
class RawProvider:
    """Plays one script for each connection, the last one again when they have run out."""

    url: str
    scripts: list[Script]
    peers: list[Peer] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    shown: list[object] = field(default_factory=list)  # the certificates of those who connected

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        script = self.scripts[min(len(self.peers), len(self.scripts) - 1)]
        self.peers.append(peer)
        self.shown.append(writer.get_extra_info("peercert"))
        try:
            await script(peer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client closed; tests that care look at the client's side
        except Exception as fault:  # noqa: BLE001  a claim of the script's own, raised when the test ends
            self.faults.append(fault)
        finally:
            writer.close()


@asynccontextmanager
async def raw_provider(
    *scripts: Script, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None, name: str | None = None
) -> AsyncIterator[RawProvider]:
    """`name` stands in the URL for the address."""
    provider = RawProvider("", list(scripts))
    async with listening(provider.serve, host, tls=tls) as port:
        shown = name or (f"[{host}]" if ":" in host else host)
        provider.url = f"{'https' if tls else 'http'}://{shown}:{port}"
        yield provider
    for fault in provider.faults:
        raise fault


@contextmanager
def full_queue() -> Iterator[socket.socket]:
    """A listener that takes no further connection and refuses none either: the kernel answers nothing."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield listener


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def answering(*pieces: bytes, ends: bool = False) -> Script:
    """Answers every request of a connection with the same bytes; `ends` closes after the first."""

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*pieces)
            if ends:
                return

    return play


def get(url: str, path: str = "/x", headers: Iterable[Header] = ()) -> UpstreamRequest:
    return UpstreamRequest("GET", url + path, list(headers), b"")


def post(url: str, body: bytes = b"{}", path: str = "/x", headers: Iterable[Header] = ()) -> UpstreamRequest:
    return UpstreamRequest("POST", url + path, list(headers), body)


@dataclass(frozen=True)
class Got:
    status: int
    headers: list[Header]
    body: bytes


async def ask(
    upstream: HttpUpstream, request: UpstreamRequest, timeouts: UpstreamTimeouts = PATIENT, *, decode: bool = True
) -> Got:
    """A whole exchange."""
    async with asyncio.timeout(BOUND), upstream.open(request, timeouts, decode=decode) as response:
        body = b""
        while chunk := await response.read():
            body += chunk
        assert response.at_end
        return Got(response.status, list(response.headers), body)

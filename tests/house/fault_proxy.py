"""A small TCP proxy that does to the bytes of an answer what networks do: late, in slices, cut, lost, half-closed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from tests.fakes.listening import listening

Ending = Literal[
    "reset",  # a TCP reset
    "half-close",  # a FIN, while what the client sends is still taken
    "blackhole",  # nothing comes any more, and nothing says so
]


@dataclass(frozen=True)
class Fault:
    """What happens to the provider's bytes. `ending` comes after `after` of them."""

    latency: float = 0.0  # seconds before each piece
    slices: int = 65536  # the most bytes in a piece
    after: int = 0
    ending: Ending | None = None


@dataclass
class FaultProxy:
    """`url` stands in front of the provider. `fault` counts for connections that are made from then on."""

    url: str
    provider: str
    fault: Fault = field(default_factory=Fault)
    connections: int = 0

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        fault = self.fault
        self.connections += 1
        parts = urlsplit(self.provider)
        assert parts.hostname is not None
        provider, to_provider = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            async with asyncio.TaskGroup() as group:
                upward = group.create_task(_pump(client, to_provider))
                await _pump_with(provider, to_client, fault)
                upward.cancel()
        finally:
            to_provider.transport.abort()
            to_client.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()  # the gateway has closed: its provider is to see that


async def _pump_with(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
    left = fault.after
    with contextlib.suppress(ConnectionError):
        while True:
            if fault.ending is not None and left <= 0:
                await _end(writer, fault.ending)
                return
            data = await reader.read(min(fault.slices, left) if fault.ending is not None else fault.slices)
            if not data:
                return
            left -= len(data)
            if fault.latency:
                await asyncio.sleep(fault.latency)
            writer.write(data)
            await writer.drain()


async def _end(writer: asyncio.StreamWriter, ending: Ending) -> None:
    match ending:
        case "reset":
            connected: socket.socket = writer.get_extra_info("socket")
            # Linger on with a time of zero makes the kernel answer with a reset instead of a FIN (socket(7)).
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        case "half-close":
            writer.write_eof()
            await asyncio.Event().wait()
        case "blackhole":
            await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def fault_proxy(provider: str) -> AsyncIterator[FaultProxy]:
    """In front of the provider at that URL."""
    proxy = FaultProxy("", provider)
    async with listening(proxy.serve) as port:
        proxy.url = f"http://127.0.0.1:{port}"
        yield proxy

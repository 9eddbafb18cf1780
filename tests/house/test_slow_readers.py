"""Clients that read nothing of streams without end: what waits for them is bounded, and their going ends it all."""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
from urllib.parse import urlsplit

import pytest

from aibridge.server.demo.simulator import SimulatedProvider
from aibridge.upstream import HttpUpstream
from tests.exchanges import MESSAGES
from tests.house.in_process import ADA, bridge_before
from tests.server.http.raw import unread
from tests.upstream.raw_provider import Peer, raw_provider
from tests.waiting import until

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
EVENT = (
    b'event: content_block_delta\ndata: {"type": "content_block_delta", "index": 0, "delta": "'
    + b"x" * 4000
    + b'"}\n\n'
)


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the server runs."""
    return "asyncio", {"use_uvloop": True}


class Endless:
    """A provider that writes as fast as it may."""

    def __init__(self) -> None:
        self.running = 0

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        self.running += 1
        try:
            await peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", MESSAGES.events[0])
            while True:
                await peer.send(EVENT)
        finally:
            self.running -= 1


def is_paused(upstream: HttpUpstream) -> bool:
    return upstream._pool is not None and all(connection._paused for connection in upstream._pool._all)


@pytest.mark.parametrize("readers", [20, pytest.param(200, marks=pytest.mark.slow)])
async def test_readers_that_do_not_read_cost_less_than_a_megabyte_each(readers: int) -> None:
    endless = Endless()
    content = MESSAGES.asked(stream=True)
    head = f"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ADA}\r\n"
    request = f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
    upstream = HttpUpstream()
    async with (
        raw_provider(endless) as provider,
        bridge_before(provider.url, SimulatedProvider(), upstream=upstream) as gateway,
    ):
        port = urlsplit(gateway.url).port
        assert port is not None
        gc.collect()
        tracemalloc.start()
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(readers):
                await stack.enter_async_context(unread(port, request))
            # Everything is full where the gateway no longer reads from its provider.
            await until(lambda: endless.running == readers and is_paused(upstream), 60)
            held = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            # The provider's own buffers are in it too: they are in this process.
            assert held < readers * MIB
            assert gateway.bridge.in_flight == readers

        await until(lambda: gateway.bridge.in_flight == 0)
        await until(lambda: endless.running == 0)
        ended = [end.state for end in gateway.recorder.ends]
        assert ended == ["client_gone"] * readers
        assert all(used.partial for used in gateway.recorder.token_usages)

"""A reader that does not read stops the provider: what waits in between is bounded, also when it was compressed."""

import asyncio
import tracemalloc
import zlib

import pytest

from aibridge.upstream import HttpUpstream
from tests.upstream.raw_provider import PATIENT, Peer, post, raw_provider
from tests.waiting import BOUND, until

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


async def test_a_fast_provider_waits_for_a_slow_reader(upstream: HttpUpstream) -> None:
    total = 64 * MIB
    blocked = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        piece = b"x" * MIB
        for _ in range(total // MIB):
            peer.write(piece)
            if peer.waiting > 8 * MIB:
                blocked.set()
        await peer.gone()

    tracemalloc.start()
    async with (
        raw_provider(play) as provider,
        asyncio.timeout(30),
        upstream.open(post(provider.url), PATIENT) as answer,
    ):
        await blocked.wait()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(50):
            await asyncio.sleep(0)  # whatever the loop would do
        assert answer._size <= MIB
        assert tracemalloc.get_traced_memory()[0] - before < MIB
        received = 0
        while chunk := await answer.read():
            received += len(chunk)
            assert len(chunk) <= MIB
    tracemalloc.stop()

    assert received == total


async def test_many_small_chunks_come_in_one_read(upstream: HttpUpstream) -> None:
    """A reader that is behind catches up at once."""
    sent = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n")
        sent.set()

    async with (
        raw_provider(play) as provider,
        asyncio.timeout(BOUND),
        upstream.open(post(provider.url), PATIENT) as answer,
    ):
        await sent.wait()
        await until(lambda: answer._ended)
        assert await answer.read() == b"x" * 1000
        assert answer.at_end


async def test_a_compressed_answer_that_becomes_a_lot_is_decoded_as_it_is_read(upstream: HttpUpstream) -> None:
    total = 256 * MIB
    machine = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    body = b"".join(machine.compress(b"\0" * MIB) for _ in range(total // MIB)) + machine.flush()
    assert len(body) < MIB

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n" + body)

    tracemalloc.start()
    async with (
        raw_provider(play) as provider,
        asyncio.timeout(30),
        upstream.open(post(provider.url), PATIENT) as answer,
    ):
        received = 0
        while chunk := await answer.read():
            received += len(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert received == total
    assert peak < 8 * MIB

"""Connections serve one request after another, and never give an answer to whom it does not belong."""

import asyncio
import itertools

import pytest

from aibridge.errors import UpstreamReset, UpstreamUnreachable
from aibridge.upstream import HttpUpstream
from tests.upstream.raw_provider import PATIENT, WHOLE, Peer, answering, ask, post, raw_provider
from tests.waiting import BOUND, until

pytestmark = pytest.mark.anyio

STREAM = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n"


async def test_requests_one_after_another_share_a_connection(upstream: HttpUpstream) -> None:
    async with raw_provider(answering(WHOLE)) as provider:
        for _ in range(20):
            assert (await ask(upstream, post(provider.url))).body == b"ok"

    assert [len(peer.heads) for peer in provider.peers] == [20]


async def test_requests_at_the_same_time_have_a_connection_each(upstream: HttpUpstream) -> None:
    everybody = asyncio.Barrier(10)

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            await everybody.wait()
            await peer.send(WHOLE)

    async with raw_provider(play) as provider:
        for _ in range(2):
            await asyncio.gather(*(ask(upstream, post(provider.url)) for _ in range(10)))

    assert [len(peer.heads) for peer in provider.peers] == [2] * 10


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nconnection: keep-alive, close\r\ncontent-length: 2\r\n\r\nok",
    ],
)
async def test_a_connection_that_the_provider_wants_closed_is_closed(upstream: HttpUpstream, answer: bytes) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.gone()

    async with raw_provider(play) as provider:
        assert (await ask(upstream, post(provider.url))).body == b"ok"
        assert (await ask(upstream, post(provider.url))).body == b"ok"

    assert [len(peer.heads) for peer in provider.peers] == [1, 1]


async def test_an_idle_connection_that_the_provider_closed_is_not_used_again(upstream: HttpUpstream) -> None:
    closed = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(WHOLE)
        peer.end()
        await peer.gone()
        closed.set()

    async with raw_provider(play, answering(WHOLE)) as provider:
        await ask(upstream, post(provider.url))
        async with asyncio.timeout(BOUND):
            await closed.wait()
        assert (await ask(upstream, post(provider.url))).body == b"ok"

    assert len(provider.peers) == 2


@pytest.mark.parametrize(
    "unasked",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"H",
        b"\x00",
        b"0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("when", ["with the answer", "while it is idle"])
async def test_bytes_that_nobody_asked_for_end_a_connection(upstream: HttpUpstream, unasked: bytes, when: str) -> None:
    answered, closed = asyncio.Event(), asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        if when == "with the answer":
            await peer.send(WHOLE + unasked)
        else:
            await peer.send(WHOLE)
            await answered.wait()
            await peer.send(unasked)
        await peer.gone()
        closed.set()

    async with raw_provider(play, answering(WHOLE)) as provider:
        assert (await ask(upstream, post(provider.url))).body == b"ok"
        answered.set()
        async with asyncio.timeout(BOUND):
            await closed.wait()
        assert (await ask(upstream, post(provider.url))).body == b"ok"

    assert len(provider.peers) == 2


async def test_an_answer_that_is_not_read_to_its_end_cuts_the_connection(upstream: HttpUpstream) -> None:
    closed = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        await peer.gone()
        closed.set()

    async with raw_provider(play) as provider:
        async with upstream.open(post(provider.url), PATIENT) as answer:
            assert await answer.read() == b"first"
        async with asyncio.timeout(1):
            await closed.wait()


async def test_an_answer_that_has_come_whole_but_is_not_read_cuts_nobody(upstream: HttpUpstream) -> None:
    """Its connection may serve somebody else already when its block is left."""
    goes_on = asyncio.Event()
    numbers = itertools.count()

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            if next(numbers) == 0:
                await peer.send(WHOLE)
            else:
                await peer.send(STREAM)
                await goes_on.wait()
                await peer.send(b"6\r\nsecond\r\n0\r\n\r\n")

    async with raw_provider(play) as provider, asyncio.timeout(BOUND):
        first = upstream.open(post(provider.url), PATIENT)
        whole = await first.__aenter__()
        await until(lambda: whole._ended)
        async with upstream.open(post(provider.url), PATIENT) as other:
            assert await other.read() == b"first"
            await first.__aexit__(None, None, None)
            goes_on.set()
            assert await other.read() == b"second"
            assert await other.read() == b""
        assert await whole.read() == b"ok"

    assert len(provider.peers) == 1


async def test_a_late_reader_of_a_large_answer_does_not_unpause_the_next_one(upstream: HttpUpstream) -> None:
    """Two answers on one connection: reading the first, which is whole, must not let the second pile up."""
    size = 100 * 1024
    body = b"x" * (2 * size)
    numbers = itertools.count()
    flooding = asyncio.Event()

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            if next(numbers) == 0:
                await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            else:
                await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
                for _ in range(200):
                    peer.write(b"y" * size)
                flooding.set()
                await peer.gone()

    async with raw_provider(play) as provider, asyncio.timeout(BOUND):
        first = upstream.open(post(provider.url), PATIENT)
        late = await first.__aenter__()
        got = b""
        while not late._ended:
            if late._size > size:  # so that its end can come
                got += await late.read()
            await asyncio.sleep(0)
        async with upstream.open(post(provider.url), PATIENT) as other:
            await flooding.wait()
            connection = first._connection
            assert connection is not None
            await until(lambda: connection._paused)
            while chunk := await late.read():
                got += chunk
            assert got == body
            assert connection._paused
            assert await other.read() != b""


async def test_a_closed_upstream_breaks_off_whoever_waits_and_leaves_no_connection(upstream: HttpUpstream) -> None:
    closed = asyncio.Event()
    asked = asyncio.Event()

    async def streaming(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        await peer.gone()

    async def silent(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.gone()

    async def idle(peer: Peer) -> None:
        await peer.request()
        await peer.send(WHOLE)
        await peer.gone()
        closed.set()

    async with raw_provider(idle) as third, raw_provider(streaming) as first, raw_provider(silent) as second:
        await ask(upstream, post(third.url))
        async with asyncio.timeout(BOUND), upstream.open(post(first.url), PATIENT) as answer:
            assert await answer.read() == b"first"
            reading = asyncio.create_task(answer.read())
            asking = asyncio.create_task(ask(upstream, post(second.url)))
            await asked.wait()
            await upstream.close()
            with pytest.raises(UpstreamReset):
                await reading
            with pytest.raises(UpstreamUnreachable):
                await asking
            await closed.wait()


async def test_an_upstream_may_be_closed_before_and_after_its_use() -> None:
    upstream = HttpUpstream()
    await upstream.close()
    async with raw_provider(answering(WHOLE)) as provider:
        assert (await ask(upstream, post(provider.url))).body == b"ok"
        await upstream.close()
        assert (await ask(upstream, post(provider.url))).body == b"ok"
        await upstream.close()
        await upstream.close()


async def test_connections_that_nobody_needs_are_closed_in_time() -> None:
    upstream = HttpUpstream(idle_timeout=0.1)
    closed = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(WHOLE)
        await peer.gone()
        closed.set()

    async with raw_provider(play) as provider:
        await ask(upstream, post(provider.url))
        async with asyncio.timeout(BOUND):
            await closed.wait()


async def test_connections_to_different_addresses_are_not_mixed_up(upstream: HttpUpstream) -> None:
    other = WHOLE.replace(b"ok", b"2!")
    async with raw_provider(answering(WHOLE)) as first, raw_provider(answering(other)) as second:
        for _ in range(3):
            assert (await ask(upstream, post(first.url))).body == b"ok"
            assert (await ask(upstream, post(second.url))).body == b"2!"

    assert len(first.peers) == len(second.peers) == 1

"""Whoever asks may be cancelled at any moment: the provider notices within a second, and nobody else does."""

import asyncio
import contextlib

import pytest

from aibridge.upstream import HttpUpstream
from tests.upstream.raw_provider import WHOLE, Peer, ask, full_queue, post, raw_provider, url_of
from tests.waiting import BOUND, until

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
POINTS = {
    "before any byte": (),
    "within the head": (HEAD[:20],),
    "after the head": (HEAD,),
    "within a chunk": (HEAD, b"5\r\nab"),
    "between chunks": (HEAD, b"3\r\none\r\n"),
    "before the last line": (HEAD, b"3\r\none\r\n0\r\n"),
}


@pytest.mark.parametrize("sent", POINTS.values(), ids=POINTS.keys())
@pytest.mark.parametrize("reused", [False, True], ids=["a new connection", "a used connection"])
async def test_the_provider_notices_a_cancelled_request_within_a_second(
    upstream: HttpUpstream, sent: tuple[bytes, ...], reused: bool
) -> None:
    reached, closed = asyncio.Event(), asyncio.Event()

    async def play(peer: Peer) -> None:
        if reused:
            await peer.request()
            await peer.send(WHOLE)
        await peer.request()
        await peer.send(*sent)
        reached.set()
        await peer.gone()
        closed.set()

    async with raw_provider(play) as provider:
        if reused:
            await ask(upstream, post(provider.url))
        asking = asyncio.create_task(ask(upstream, post(provider.url)))
        async with asyncio.timeout(BOUND):
            await reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(1):
            await closed.wait()

    assert len(provider.peers) == 1


async def test_a_large_body_that_is_on_its_way_is_stopped(upstream: HttpUpstream) -> None:
    closed = asyncio.Event()
    begun = asyncio.Event()

    async def play(peer: Peer) -> None:
        begun.set()
        await peer.gone()
        closed.set()

    async with raw_provider(play) as provider:
        asking = asyncio.create_task(ask(upstream, post(provider.url, b"x" * 50_000_000)))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(1):
            await closed.wait()


async def test_a_connection_in_the_making_can_be_given_up(upstream: HttpUpstream) -> None:
    with full_queue() as listener:
        asking = asyncio.create_task(ask(upstream, post(url_of(listener))))
        await until(lambda: upstream._pool is not None)
        asking.cancel()
        async with asyncio.timeout(1):
            with pytest.raises(asyncio.CancelledError):
                await asking


async def test_one_cancelled_request_of_many_leaves_the_others_alone(upstream: HttpUpstream) -> None:
    goes_on = asyncio.Event()
    everybody = asyncio.Barrier(6)

    async def play(peer: Peer) -> None:
        await peer.request()
        await everybody.wait()
        await goes_on.wait()
        await peer.send(WHOLE)

    async with raw_provider(play) as provider, asyncio.timeout(BOUND):
        asking = [asyncio.create_task(ask(upstream, post(provider.url))) for _ in range(5)]
        await everybody.wait()
        asking[2].cancel()
        goes_on.set()
        results = await asyncio.gather(*asking, return_exceptions=True)

    assert isinstance(results.pop(2), asyncio.CancelledError)
    assert all(not isinstance(result, BaseException) and result.body == b"ok" for result in results)


async def test_no_connection_and_no_timer_is_left_behind(upstream: HttpUpstream) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD)
        await peer.gone()

    async with raw_provider(play) as provider:
        for _ in range(10):
            asking = asyncio.create_task(ask(upstream, post(provider.url)))
            await until(lambda: upstream._pool is not None and bool(upstream._pool._all))
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
            await until(lambda: upstream._pool is not None and not upstream._pool._all)
        assert upstream._pool is not None
        assert not any(upstream._pool._idle.values())

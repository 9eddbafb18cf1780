"""How many connections one provider is given, and how many wait idle. Whoever must wait, waits for a bounded time."""

import asyncio

import pytest
from msgspec.structs import replace

from aibridge.errors import Refused, UpstreamUnreachable
from aibridge.link import Link
from aibridge.ports import UpstreamRequest, UpstreamTimeouts
from aibridge.upstream import HttpUpstream
from tests.upstream.raw_provider import PATIENT, WHOLE, Peer, answering, ask, post, raw_provider
from tests.waiting import BOUND, settled, until

pytestmark = pytest.mark.anyio

TWO = Link(max_connections=2)
IMPATIENT = UpstreamTimeouts(connect=0.1, first_byte=BOUND, stall=BOUND)


def limited(url: str, link: Link = TWO) -> UpstreamRequest:
    return replace(post(url), link=link)


async def test_no_more_connections_are_opened_than_allowed_and_everybody_is_served_in_turn(
    upstream: HttpUpstream,
) -> None:
    served: list[int] = []
    async with raw_provider(answering(WHOLE)) as provider, asyncio.timeout(BOUND):

        async def one(number: int) -> None:
            assert (await ask(upstream, limited(provider.url))).body == b"ok"
            served.append(number)

        await asyncio.gather(*(one(number) for number in range(40)))

    assert len(provider.peers) == 2
    assert sorted(served) == list(range(40))
    assert served.index(39) > served.index(5)


async def test_one_who_waits_too_long_is_told_to_come_again_and_the_provider_was_not_asked(
    upstream: HttpUpstream,
) -> None:
    goes_on = asyncio.Event()

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            await goes_on.wait()
            await peer.send(WHOLE)

    async with raw_provider(play) as provider, asyncio.timeout(BOUND):
        running = [asyncio.create_task(ask(upstream, limited(provider.url))) for _ in range(2)]
        await until(lambda: sum(len(peer.heads) for peer in provider.peers) == 2)
        with pytest.raises(Refused, match=r"all connections that the provider may be given are in use") as refused:
            await ask(upstream, limited(provider.url), IMPATIENT)
        # Another link, another count; and no link, no limit.
        others = [
            asyncio.create_task(ask(upstream, each))
            for each in (limited(provider.url, Link(max_connections=1)), post(provider.url))
        ]
        await until(lambda: len(provider.peers) == 4)
        goes_on.set()
        await asyncio.gather(*running, *others)
        assert (await ask(upstream, limited(provider.url), IMPATIENT)).body == b"ok"

    assert refused.value.problem.status == 503
    assert (b"retry-after", b"1") in refused.value.problem.headers
    assert len(provider.peers) == 4


@pytest.mark.parametrize("ending", ["cancelled while it waits", "cancelled while it runs", "cut", "refused", "reset"])
async def test_a_place_is_free_again_however_its_request_ended(upstream: HttpUpstream, ending: str) -> None:
    link = Link(max_connections=1)
    numbers = iter(range(100))

    async def play(peer: Peer) -> None:
        while True:
            await peer.request()
            if next(numbers) == 0:
                if ending == "reset":
                    return
                await peer.send(b"HTTP/1.1 200 OK\r\n\r\nbegun")
                await peer.gone()
                return
            await peer.send(WHOLE)

    async with raw_provider(play) as provider, asyncio.timeout(BOUND):
        asked = limited(provider.url, link)
        if ending == "refused":
            async with raw_provider(play) as gone:
                nowhere = gone.url
            for _ in range(3):
                with pytest.raises(UpstreamUnreachable):
                    await ask(upstream, limited(nowhere, link))
            next(numbers)
        elif ending == "reset":
            with pytest.raises(UpstreamUnreachable):
                await ask(upstream, asked)
        else:
            first = upstream.open(asked, PATIENT)
            answer = await first.__aenter__()
            assert await answer.read() == b"begun"
            waiting = asyncio.create_task(ask(upstream, asked))
            await settled()
            if ending == "cancelled while it waits":
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            await first.__aexit__(None, None, None)
            if not waiting.cancelled():
                assert (await waiting).body == b"ok"
        for _ in range(3):
            assert (await ask(upstream, asked, IMPATIENT)).body == b"ok"


async def test_an_answer_that_comes_before_its_request_was_written_is_its_answer(upstream: HttpUpstream) -> None:
    """As of a server that has too many connections, and says so to each new one."""
    full = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 4\r\n\r\nfull"

    async def play(peer: Peer) -> None:
        await peer.send(full)
        await peer.request()

    async with raw_provider(play) as provider:
        for _ in range(20):
            got = await ask(upstream, post(provider.url))
            assert (got.status, got.body) == (503, b"full")


async def test_idle_connections_beyond_the_limit_are_closed_the_oldest_first() -> None:
    upstream = HttpUpstream(max_idle=2)
    everybody = asyncio.Barrier(5)
    closed: list[int] = []

    async def play(peer: Peer) -> None:
        number = len(provider.peers)
        await peer.request()
        await everybody.wait()
        await peer.send(WHOLE)
        await peer.gone()
        closed.append(number)

    async with raw_provider(play) as provider, asyncio.timeout(BOUND):
        await asyncio.gather(*(ask(upstream, post(provider.url)) for _ in range(5)))
        await until(lambda: len(closed) == 3)
        await settled()
        assert upstream._pool is not None
        assert [len(waiting) for waiting in upstream._pool._idle.values()] == [2]
        assert len(closed) == 3
        await upstream.close()

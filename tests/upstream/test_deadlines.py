"""How long a provider may be silent: before it is reached, before its answer, and in the midst of it."""

import asyncio

import pytest

from aibridge.errors import UpstreamStalled, UpstreamUnreachable
from aibridge.ports import UpstreamTimeouts
from aibridge.upstream import HttpUpstream
from tests.upstream.raw_provider import WHOLE, Peer, ask, full_queue, post, raw_provider, url_of
from tests.waiting import BOUND

pytestmark = pytest.mark.anyio

SHORT = 0.15  # seconds


def deadlines(*, connect: float = BOUND, first_byte: float = BOUND, stall: float = BOUND) -> UpstreamTimeouts:
    return UpstreamTimeouts(connect, first_byte, stall)


async def test_a_provider_that_takes_no_connection_is_unreachable_in_time(upstream: HttpUpstream) -> None:
    with (
        full_queue() as listener,
        pytest.raises(UpstreamUnreachable, match=r"no connection to the provider within 0\.15 s"),
    ):
        await ask(upstream, post(url_of(listener)), deadlines(connect=SHORT))


@pytest.mark.parametrize(
    "before",
    [
        (),
        (b"HTTP/1.1 2",),
        (b"HTTP/1.1 100 Continue\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
    ],
    ids=["nothing", "half a line", "an interim answer", "a head", "half a head"],
)
async def test_no_first_byte_of_a_body_in_time_is_a_stall(upstream: HttpUpstream, before: tuple[bytes, ...]) -> None:
    closed = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(*before)
        await peer.gone()
        closed.set()

    async with raw_provider(play) as provider:
        with pytest.raises(UpstreamStalled, match=r"sent nothing for 0\.15 s"):
            await ask(upstream, post(provider.url), deadlines(first_byte=SHORT))
        async with asyncio.timeout(1):
            await closed.wait()


async def test_a_head_that_comes_too_slowly_does_not_put_off_the_deadline(upstream: HttpUpstream) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"x: y\r\n")
            await asyncio.sleep(SHORT / 10)  # the pace of the slow provider, which is what is tried here

    async with raw_provider(play) as provider:
        with pytest.raises(UpstreamStalled):
            await ask(upstream, post(provider.url), deadlines(first_byte=SHORT))


async def test_silence_in_the_midst_of_a_body_is_a_stall_after_what_came(upstream: HttpUpstream) -> None:
    closed = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await peer.gone()
        closed.set()

    async with (
        raw_provider(play) as provider,
        asyncio.timeout(BOUND),
        upstream.open(post(provider.url), deadlines(stall=SHORT)) as answer,
    ):
        assert await answer.read() == b"one"
        with pytest.raises(UpstreamStalled):
            await answer.read()
        await closed.wait()


async def test_a_body_that_keeps_coming_may_take_longer_than_every_deadline(upstream: HttpUpstream) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
        for _ in range(10):
            await peer.send(b"x")
            await asyncio.sleep(SHORT / 3)  # ten of these are longer than any one deadline

    async with raw_provider(play) as provider:
        got = await ask(upstream, post(provider.url), deadlines(first_byte=SHORT, stall=SHORT))

    assert got.body == b"x" * 10


async def test_a_reader_that_takes_its_time_is_no_stall_of_the_provider(upstream: HttpUpstream) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4_000_000)

    async with (
        raw_provider(play) as provider,
        asyncio.timeout(BOUND),
        upstream.open(post(provider.url), deadlines(stall=SHORT)) as answer,
    ):
        size = len(await answer.read())
        await asyncio.sleep(3 * SHORT)  # the reader's time, in which the connection does not read
        while chunk := await answer.read():
            size += len(chunk)

    assert size == 4_000_000


async def test_a_deadline_of_an_answered_request_does_not_hit_the_next(upstream: HttpUpstream) -> None:
    goes_on = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(WHOLE)
        await peer.request()
        await goes_on.wait()
        await peer.send(WHOLE)

    async with raw_provider(play) as provider:
        await ask(upstream, post(provider.url), deadlines(first_byte=SHORT))
        second = asyncio.create_task(ask(upstream, post(provider.url)))
        asyncio.get_running_loop().call_later(2 * SHORT, goes_on.set)
        assert (await second).body == b"ok"

    assert len(provider.peers) == 1

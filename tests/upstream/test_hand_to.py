"""What a provider sends goes to whoever takes it at once; what is not taken, an end and a fault are read as ever."""

import asyncio

import pytest

from aibridge.errors import UpstreamReset
from aibridge.upstream import HttpUpstream
from tests.upstream.raw_provider import PATIENT, Peer, post, raw_provider
from tests.waiting import BOUND

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_bytes_are_taken_until_no_more_is_wanted_and_the_rest_is_read(upstream: HttpUpstream) -> None:
    taken: list[bytes] = []
    more = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"first"))
        for piece in (b"a", b"b", b"stop", b"after"):
            await more.wait()
            more.clear()
            await peer.send(chunk(piece))
        await peer.send(b"0\r\n\r\n")

    def take(data: bytes) -> bool:
        taken.append(data)
        more.set()
        return data != b"stop"

    async with (
        raw_provider(play) as provider,
        asyncio.timeout(BOUND),
        upstream.open(post(provider.url), PATIENT) as answer,
    ):
        assert await answer.read() == b"first"
        more.set()
        await answer.hand_to(take)

        assert taken == [b"a", b"b", b"stop"]
        assert await answer.read() == b"after"
        assert await answer.read() == b""
        await answer.hand_to(take)  # over: returns at once
        assert taken == [b"a", b"b", b"stop"]


async def test_pieces_of_one_packet_are_taken_as_one(upstream: HttpUpstream) -> None:
    taken: list[bytes] = []
    ready = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"first"))
        await ready.wait()
        await peer.send(b"".join(map(chunk, [b"one ", b"two ", b"three"])))
        await peer.gone()

    def take(data: bytes) -> bool:
        taken.append(data)
        return False

    async with (
        raw_provider(play) as provider,
        asyncio.timeout(BOUND),
        upstream.open(post(provider.url), PATIENT) as answer,
    ):
        assert await answer.read() == b"first"
        ready.set()
        await answer.hand_to(take)

    assert taken == [b"one two three"]


async def test_what_comes_with_the_end_of_the_body_is_read(upstream: HttpUpstream) -> None:
    taken: list[bytes] = []
    ready = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"first"))
        await ready.wait()
        await peer.send(chunk(b"last") + b"0\r\n\r\n")

    def take(data: bytes) -> bool:
        taken.append(data)
        return True

    async with (
        raw_provider(play) as provider,
        asyncio.timeout(BOUND),
        upstream.open(post(provider.url), PATIENT) as answer,
    ):
        assert await answer.read() == b"first"
        ready.set()
        await answer.hand_to(take)
        rest = await answer.read()

        assert b"".join(taken) + rest == b"firstlast"[5:]
        assert answer.at_end


async def test_a_body_that_breaks_off_is_told_by_the_next_read(upstream: HttpUpstream) -> None:
    ready = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"first"))
        await ready.wait()
        peer.reset()

    async with (
        raw_provider(play) as provider,
        asyncio.timeout(BOUND),
        upstream.open(post(provider.url), PATIENT) as answer,
    ):
        assert await answer.read() == b"first"
        ready.set()
        await answer.hand_to(lambda _: True)
        with pytest.raises(UpstreamReset):
            await answer.read()


async def test_whoever_is_cancelled_is_handed_nothing_more(upstream: HttpUpstream) -> None:
    taken: list[bytes] = []
    ready = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"first"))
        await ready.wait()
        await peer.send(chunk(b"second"))
        await peer.gone()

    def take(data: bytes) -> bool:
        taken.append(data)
        return True

    async with (
        raw_provider(play) as provider,
        asyncio.timeout(BOUND),
        upstream.open(post(provider.url), PATIENT) as answer,
    ):
        assert await answer.read() == b"first"
        waiting = asyncio.create_task(answer.hand_to(take))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        ready.set()

        assert await answer.read() == b"second"
        assert taken == []

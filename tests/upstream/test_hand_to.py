"""What a provider sends goes to whoever takes it at once; what is not taken, an end and a fault are read as ever."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from aibridge.errors import UpstreamReset
from aibridge.ports import UpstreamResponse
from aibridge.upstream import HttpUpstream
from tests.upstream.raw_provider import PATIENT, Peer, Script, post, raw_provider
from tests.waiting import BOUND

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def begun(upstream: HttpUpstream, rest: Script) -> AsyncIterator[tuple[UpstreamResponse, asyncio.Event]]:
    """An answer of which the first bytes were read. The provider plays the rest when the event is set."""
    goes_on = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(HEAD + chunk(b"first"))
        await goes_on.wait()
        await rest(peer)

    async with (
        raw_provider(play) as provider,
        asyncio.timeout(BOUND),
        upstream.open(post(provider.url), PATIENT) as answer,
    ):
        assert await answer.read() == b"first"
        yield answer, goes_on


def sending(*pieces: bytes) -> Script:
    """All in one packet; then the provider waits for the client to leave."""

    async def play(peer: Peer) -> None:
        await peer.send(b"".join(pieces))
        await peer.gone()

    return play


def into(taken: list[bytes], *, more: bool) -> Callable[[bytes], bool]:
    """Takes what it is handed, and says whether it wants more."""

    def take(data: bytes) -> bool:
        taken.append(data)
        return more

    return take


async def test_bytes_are_taken_until_no_more_is_wanted_and_the_rest_is_read(upstream: HttpUpstream) -> None:
    taken: list[bytes] = []
    more = asyncio.Event()
    more.set()

    async def rest(peer: Peer) -> None:
        for piece in (b"a", b"b", b"stop", b"after"):
            await more.wait()
            more.clear()
            await peer.send(chunk(piece))
        await peer.send(b"0\r\n\r\n")

    def take(data: bytes) -> bool:
        taken.append(data)
        more.set()
        return data != b"stop"

    async with begun(upstream, rest) as (answer, goes_on):
        goes_on.set()
        await answer.hand_to(take)

        assert taken == [b"a", b"b", b"stop"]
        assert await answer.read() == b"after"
        assert await answer.read() == b""
        await answer.hand_to(take)  # over: returns at once
        assert taken == [b"a", b"b", b"stop"]


async def test_pieces_of_one_packet_are_taken_as_one(upstream: HttpUpstream) -> None:
    taken: list[bytes] = []
    async with begun(upstream, sending(*map(chunk, [b"one ", b"two ", b"three"]))) as (answer, goes_on):
        goes_on.set()
        await answer.hand_to(into(taken, more=False))

    assert taken == [b"one two three"]


async def test_what_comes_with_the_end_of_the_body_is_read(upstream: HttpUpstream) -> None:
    taken: list[bytes] = []
    async with begun(upstream, sending(chunk(b"last"), b"0\r\n\r\n")) as (answer, goes_on):
        goes_on.set()
        await answer.hand_to(into(taken, more=True))
        rest = await answer.read()

        assert b"".join(taken) + rest == b"last"
        assert answer.at_end


async def test_a_body_that_breaks_off_is_told_by_the_next_read(upstream: HttpUpstream) -> None:
    async def reset(peer: Peer) -> None:
        peer.reset()

    async with begun(upstream, reset) as (answer, goes_on):
        goes_on.set()
        await answer.hand_to(lambda _: True)
        with pytest.raises(UpstreamReset):
            await answer.read()


async def test_whoever_is_cancelled_is_handed_nothing_more(upstream: HttpUpstream) -> None:
    taken: list[bytes] = []
    async with begun(upstream, sending(chunk(b"second"))) as (answer, goes_on):
        waiting = asyncio.create_task(answer.hand_to(into(taken, more=True)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        goes_on.set()

        assert await answer.read() == b"second"
        assert taken == []

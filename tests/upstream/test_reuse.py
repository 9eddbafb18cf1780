"""Connections serve one request after another, and never give an answer to whom it does not belong."""

import asyncio
import itertools

import pytest
from msgspec.structs import replace

from aibridge.errors import UpstreamReset, UpstreamUnreachable
from aibridge.upstream import HttpUpstream
from tests.upstream.raw_provider import PATIENT, WHOLE, Peer, Script, answering, ask, post, raw_provider
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


# -- closed just as the next request goes out -----------------------------------------------------------


def breaking(how: str) -> Script:
    """Answers one request, reads the next and breaks off: with a reset, an end, or after a piece of an answer."""

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(WHOLE)
        await peer.request()
        if how == "a piece":
            await peer.send(b"HTTP/1.1 2")
        if how == "a reset":
            peer.reset()

    return play


@pytest.mark.parametrize("how", ["a reset", "an end"])
@pytest.mark.parametrize("size", [2, 300_000])
async def test_a_request_that_meets_a_connection_just_closed_is_sent_once_more(
    upstream: HttpUpstream, how: str, size: int
) -> None:
    body = b"x" * size
    async with raw_provider(breaking(how), answering(WHOLE)) as provider:
        await ask(upstream, post(provider.url))
        answer = await ask(upstream, replace(post(provider.url), body=body))

    assert answer.body == b"ok"
    first, second = provider.peers
    assert first.bodies[1] == second.bodies[0] == body
    assert first.heads[1] == second.heads[0]


async def test_it_goes_out_on_a_new_connection_although_others_lie_idle(upstream: HttpUpstream) -> None:
    both = asyncio.Barrier(2)

    async def play(peer: Peer) -> None:
        await peer.request()
        await both.wait()
        await peer.send(WHOLE)
        await peer.request()
        peer.reset()

    async with raw_provider(play, play, answering(WHOLE)) as provider:
        await asyncio.gather(*(ask(upstream, post(provider.url)) for _ in range(2)))
        assert (await ask(upstream, post(provider.url))).body == b"ok"

    assert [len(peer.heads) for peer in provider.peers] in ([2, 1, 1], [1, 2, 1])


async def test_it_is_sent_no_third_time(upstream: HttpUpstream) -> None:
    async def reset(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with raw_provider(breaking("a reset"), reset, answering(WHOLE)) as provider:
        await ask(upstream, post(provider.url))
        with pytest.raises(UpstreamUnreachable, match="closed the connection before it answered"):
            await ask(upstream, post(provider.url))

    assert len(provider.peers) == 2


async def test_a_new_connection_that_breaks_is_not_tried_again(upstream: HttpUpstream) -> None:
    async def reset(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with raw_provider(reset, answering(WHOLE)) as provider:
        with pytest.raises(UpstreamUnreachable):
            await ask(upstream, post(provider.url))

    assert len(provider.peers) == 1


async def test_a_request_of_which_something_was_answered_is_not_sent_again(upstream: HttpUpstream) -> None:
    async with raw_provider(breaking("a piece"), answering(WHOLE)) as provider:
        await ask(upstream, post(provider.url))
        with pytest.raises(UpstreamUnreachable):
            await ask(upstream, post(provider.url))

    assert len(provider.peers) == 1


async def test_a_request_that_may_have_been_begun_is_not_sent_again(
    upstream: HttpUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibridge.upstream._CLOSED_MEANWHILE", -1.0)  # whatever comes, comes too late
    async with raw_provider(breaking("a reset"), answering(WHOLE)) as provider:
        await ask(upstream, post(provider.url))
        with pytest.raises(UpstreamUnreachable):
            await ask(upstream, post(provider.url))

    assert len(provider.peers) == 1

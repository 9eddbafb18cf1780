"""Providers that answer while a large body still goes out: their answer arrives, and nothing is sent in vain."""

import asyncio
from pathlib import Path

import pytest

from aibridge.errors import UpstreamReset, UpstreamUnreachable
from aibridge.upstream import HttpUpstream
from tests.upstream.authority import Authority
from tests.upstream.hasty_provider import BODY, hasty
from tests.upstream.raw_provider import PATIENT, WHOLE, Peer, ask, post, raw_provider
from tests.waiting import BOUND

pytestmark = pytest.mark.anyio

SIZES = (300_000, 3_000_000, 20_000_000)
REFUSAL = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno"
TIMES = 5  # what happens first differs from time to time


@pytest.mark.parametrize("how", ["close", "reset", "end", "later"])
async def test_an_answer_to_a_body_half_sent_arrives_whole(upstream: HttpUpstream, how: str) -> None:
    async with hasty() as url:
        for framing in ("length", "kept", "chunks"):
            for size in SIZES * TIMES:
                got = await ask(upstream, post(url, b"x" * size, f"/{how}/{framing}"))

                assert (got.status, got.body) == (413, BODY)
                assert (b"retry-after", b"7") in got.headers


async def test_so_does_one_that_ends_with_its_connection(upstream: HttpUpstream) -> None:
    async with hasty() as url:
        for size in SIZES * TIMES:
            got = await ask(upstream, post(url, b"x" * size, "/end/closing"))

            assert (got.status, got.body) == (413, BODY)


@pytest.mark.parametrize("how", ["reset", "later"])
async def test_of_one_that_ends_with_a_reset_all_that_came_arrives(upstream: HttpUpstream, how: str) -> None:
    """Whether that was all nobody can know."""
    async with hasty() as url:
        for size in SIZES * TIMES:
            request = post(url, b"x" * size, f"/{how}/closing")
            async with asyncio.timeout(BOUND), upstream.open(request, PATIENT) as answer:
                body = b""
                try:
                    while chunk := await answer.read():
                        body += chunk
                except UpstreamReset:
                    pass

                assert (answer.status, body) == (413, BODY)


async def test_in_tls_an_answer_arrives_before_the_end_of_the_connection(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    upstream = HttpUpstream(ssl_context=authority.trusted())
    certificate, _ = authority.client("127.0.0.1")
    async with hasty("https", certificate) as url:
        for size in SIZES * TIMES:
            got = await ask(upstream, post(url, b"x" * size, "/end/length"))

            assert (got.status, got.body) == (413, BODY)
    await upstream.close()


async def test_a_provider_that_only_ends_its_side_is_not_waited_for(upstream: HttpUpstream) -> None:
    async with hasty() as url:
        with pytest.raises(UpstreamUnreachable, match="before it answered"):
            await ask(upstream, post(url, b"x" * 20_000_000, "/end/nothing"))


async def test_after_a_refusal_nothing_more_is_sent_and_the_connection_serves_nobody(upstream: HttpUpstream) -> None:
    size = 20_000_000
    came, gone = 0, asyncio.Event()

    async def play(peer: Peer) -> None:
        nonlocal came
        await peer.head()
        await peer.send(REFUSAL)
        came = await peer.gone()
        gone.set()

    async def second(peer: Peer) -> None:
        await peer.request()
        await peer.send(WHOLE)

    async with raw_provider(play, second) as provider:
        refused = await ask(upstream, post(provider.url, b"x" * size))
        after = await ask(upstream, post(provider.url))
        async with asyncio.timeout(BOUND):
            await gone.wait()

    assert (refused.status, refused.body, after.body) == (413, b"no", b"ok")
    assert 0 < came < size
    assert len(provider.peers) == 2


@pytest.mark.parametrize("early", [b"HTTP/1.1 103 Early Hints\r\n\r\n", WHOLE[:-2]])
async def test_what_is_no_refusal_ends_no_body(upstream: HttpUpstream, early: bytes) -> None:
    """The beginning of an answer, or a word before it: the provider still reads."""
    body = b"0123456789" * 2_000_000

    async def play(peer: Peer) -> None:
        await peer.head()
        await peer.send(early)
        came = await peer.read(len(body))
        assert came == body
        await peer.send(WHOLE.removeprefix(early))

    async with raw_provider(play) as provider:
        got = await ask(upstream, post(provider.url, body))

    assert (got.status, got.body) == (200, b"ok")

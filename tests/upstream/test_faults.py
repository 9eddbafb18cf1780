"""What providers and networks do wrong: each fault is told apart, none is taken for a whole answer."""

import asyncio

import pytest

from aibridge.errors import UpstreamReset, UpstreamUnreachable
from aibridge.upstream import HttpUpstream
from aibridge.upstream.connection import MAX_HEAD
from tests.upstream.raw_provider import PATIENT, Peer, answering, ask, get, post, raw_provider

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"

NO_ANSWER = {
    "garbage": b"this is no HTTP at all\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a TLS alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "an odd version": b"HTTP/9.9 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nnothing\r\n\r\n",
    "a header name with a space": b"HTTP/1.1 200 OK\r\nx y: 1\r\n\r\n",
    "a NUL in a header": b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
    "a length that is no number": b"HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "a length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a head too large": b"HTTP/1.1 200 OK\r\n" + b"x: %b\r\n" % (b"y" * 1000) * (MAX_HEAD // 1000 + 1) + b"\r\n",
    "interim answers without end": b"HTTP/1.1 103 Early Hints\r\nlink: %b\r\n\r\n" % (b"y" * 1000) * (MAX_HEAD // 900),
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "nothing": b"",
}
BROKEN_BODY = {
    "shorter than its length": HEAD + b"five!",
    "without its last chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfive!\r\n",
    "within a chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nfive!",
    "with a chunk whose size is no number": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfive!\r\nxyz\r\n"
    ),
    "with a chunk longer than its size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfive!more\r\n",
    "in another transfer coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\nfive!",
}


@pytest.mark.parametrize("sent", NO_ANSWER.values(), ids=NO_ANSWER.keys())
async def test_what_is_no_answer_is_unreachable_and_the_connection_ends(upstream: HttpUpstream, sent: bytes) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        if sent[-4:] not in (b"\r\n\r\n", b"\0\r\n"):
            peer.end()
        await peer.gone()

    async with raw_provider(play) as provider:
        with pytest.raises(UpstreamUnreachable) as failed:
            await ask(upstream, post(provider.url))

    assert "five" not in str(failed.value)
    assert str(failed.value)


async def test_a_header_without_an_end_is_not_waited_for(upstream: HttpUpstream) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nx: " + b"y" * (MAX_HEAD + 1))
        await peer.gone()

    async with raw_provider(play) as provider:
        with pytest.raises(UpstreamUnreachable, match="too large"):
            await ask(upstream, post(provider.url))


async def test_trailers_without_an_end_are_not_kept(upstream: HttpUpstream) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfive!\r\n0\r\n")
        await peer.send(b"x: %b\r\n" % (b"y" * 1000) * (MAX_HEAD // 1000 + 3))
        await peer.gone()

    async with raw_provider(play) as provider:
        with pytest.raises(UpstreamReset, match="too large"):
            await ask(upstream, post(provider.url))


@pytest.mark.parametrize("sent", BROKEN_BODY.values(), ids=BROKEN_BODY.keys())
@pytest.mark.parametrize("how", ["end", "reset"])
async def test_a_body_that_breaks_off_gives_what_came_and_then_an_error(
    upstream: HttpUpstream, sent: bytes, how: str
) -> None:
    read = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        async with asyncio.timeout(5):
            await read.wait()
        if how == "reset":
            peer.reset()

    async with raw_provider(play) as provider, asyncio.timeout(5), upstream.open(post(provider.url), PATIENT) as answer:
        assert answer.status == 200
        assert await answer.read() == b"five!"
        read.set()
        with pytest.raises(UpstreamReset):
            await answer.read()
        with pytest.raises(UpstreamReset):
            await answer.read()
        assert not answer.at_end


async def test_a_body_without_length_that_is_reset_is_not_whole(upstream: HttpUpstream) -> None:
    read = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nsome of it")
        async with asyncio.timeout(5):
            await read.wait()
        peer.reset()

    async with raw_provider(play) as provider, asyncio.timeout(5), upstream.open(post(provider.url), PATIENT) as answer:
        assert await answer.read() == b"some of it"
        read.set()
        with pytest.raises(UpstreamReset):
            await answer.read()


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 20", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_reset_before_the_answer_is_unreachable(upstream: HttpUpstream, before: bytes) -> None:
    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(before)
        peer.reset()

    async with raw_provider(play) as provider:
        with pytest.raises(UpstreamUnreachable):
            await ask(upstream, post(provider.url))


async def test_a_port_where_nobody_listens_is_unreachable(upstream: HttpUpstream) -> None:
    async with raw_provider(answering(b"")) as provider:
        gone = provider.url
    with pytest.raises(UpstreamUnreachable, match="no connection to the provider"):
        await ask(upstream, post(gone))


@pytest.mark.parametrize("host", ["name.invalid", "a" * 64 + ".invalid", "a..b"])
async def test_a_host_name_that_is_none_is_unreachable(upstream: HttpUpstream, host: str) -> None:
    with pytest.raises(UpstreamUnreachable, match="host name cannot be resolved"):
        await ask(upstream, get(f"http://{host}:9"))


async def test_an_error_says_nothing_of_the_request(upstream: HttpUpstream) -> None:
    async with raw_provider(answering(b"garbage", ends=True)) as provider:
        request = post(provider.url, b"my prompt", "/path?key=secret", [(b"authorization", b"Bearer secret")])
        with pytest.raises(UpstreamUnreachable) as failed:
            await ask(upstream, request)

    told = repr(failed.value) + str(failed.value.__cause__)
    assert "secret" not in told
    assert "prompt" not in told


async def test_an_answer_before_the_request_is_whole_is_still_an_answer(upstream: HttpUpstream) -> None:
    """As a proxy does that refuses a large body by its length."""

    async def play(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
        await peer.gone()

    async with raw_provider(play) as provider:
        got = await ask(upstream, post(provider.url, b"x" * 20_000_000))

    assert (got.status, got.body) == (413, b"no")

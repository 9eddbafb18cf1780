"""A provider is whom its certificate names, signed by an authority that we trust; anybody else gets no request."""

import asyncio
from pathlib import Path

import pytest

from aibridge.errors import UpstreamReset, UpstreamUnreachable
from aibridge.upstream import HttpUpstream
from tests.upstream.authority import Authority
from tests.upstream.raw_provider import PATIENT, WHOLE, Peer, RawProvider, answering, ask, post, raw_provider
from tests.waiting import BOUND

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def refused(upstream: HttpUpstream, provider: RawProvider) -> str:
    """Why the provider was not asked."""
    with pytest.raises(UpstreamUnreachable) as failed:
        await ask(upstream, post(provider.url, b"my prompt", headers=[(b"authorization", b"Bearer secret")]))
    await upstream.close()
    assert not any(peer.heads for peer in provider.peers)
    return str(failed.value)


async def test_a_provider_that_proves_its_name_is_asked(authority: Authority) -> None:
    upstream = HttpUpstream(ssl_context=authority.trusted())
    body = b"x" * 300_000
    async with raw_provider(answering(WHOLE), tls=authority.server("localhost"), name="localhost") as provider:
        for _ in range(3):
            assert (await ask(upstream, post(provider.url, body))).body == b"ok"
        await upstream.close()

    assert [peer.bodies for peer in provider.peers] == [[body] * 3]


async def test_a_provider_that_proves_its_address_is_asked(authority: Authority) -> None:
    upstream = HttpUpstream(ssl_context=authority.trusted())
    async with raw_provider(answering(WHOLE), tls=authority.server("127.0.0.1")) as provider:
        assert (await ask(upstream, post(provider.url))).body == b"ok"
        await upstream.close()


async def test_a_certificate_of_an_unknown_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "a stranger")
    async with raw_provider(answering(WHOLE), tls=stranger.server("127.0.0.1")) as provider:
        assert "CERTIFICATE_VERIFY_FAILED" in await refused(HttpUpstream(ssl_context=authority.trusted()), provider)


async def test_without_a_context_the_authorities_of_the_system_decide(authority: Authority) -> None:
    async with raw_provider(answering(WHOLE), tls=authority.server("127.0.0.1")) as provider:
        assert "CERTIFICATE_VERIFY_FAILED" in await refused(HttpUpstream(), provider)


async def test_a_certificate_of_another_host_is_refused(authority: Authority) -> None:
    tls = authority.server("api.anthropic.example")
    async with raw_provider(answering(WHOLE), tls=tls, name="localhost") as provider:
        assert "TLS" in await refused(HttpUpstream(ssl_context=authority.trusted()), provider)


async def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    async with raw_provider(answering(WHOLE), tls=authority.server("127.0.0.1", expired=True)) as provider:
        assert "TLS" in await refused(HttpUpstream(ssl_context=authority.trusted()), provider)


async def test_a_port_that_does_not_speak_tls_is_refused(authority: Authority) -> None:
    async def play(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.gone()

    async with raw_provider(play) as provider:
        provider.url = provider.url.replace("http://", "https://")
        assert await refused(HttpUpstream(ssl_context=authority.trusted()), provider)


async def test_a_handshake_that_is_cut_is_unreachable(authority: Authority) -> None:
    async def play(peer: Peer) -> None:
        peer.end()

    async with raw_provider(play) as provider:
        provider.url = provider.url.replace("http://", "https://")
        assert await refused(HttpUpstream(ssl_context=authority.trusted()), provider)


async def test_a_stream_over_tls_that_breaks_off_is_an_error(authority: Authority) -> None:
    read = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await read.wait()
        peer.end()

    upstream = HttpUpstream(ssl_context=authority.trusted())
    async with (
        raw_provider(play, tls=authority.server("127.0.0.1")) as provider,
        asyncio.timeout(BOUND),
        upstream.open(post(provider.url), PATIENT) as answer,
    ):
        assert await answer.read() == b"one"
        read.set()
        with pytest.raises(UpstreamReset):
            await answer.read()


async def test_an_abandoned_stream_over_tls_is_closed_at_once(authority: Authority) -> None:
    closed = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await peer.gone()
        closed.set()

    upstream = HttpUpstream(ssl_context=authority.trusted())
    async with raw_provider(play, tls=authority.server("127.0.0.1")) as provider:
        async with upstream.open(post(provider.url), PATIENT) as answer:
            assert await answer.read() == b"one"
        async with asyncio.timeout(1):
            await closed.wait()

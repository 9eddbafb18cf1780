"""Through a proxy: a tunnel for https, whole requests for http, and nobody but the proxy learns its password."""

import asyncio
import base64
from pathlib import Path

import pytest
from msgspec import structs

from aibridge.errors import UpstreamReset, UpstreamUnreachable
from aibridge.link import Link, Proxy
from aibridge.ports import UpstreamRequest, UpstreamTimeouts
from aibridge.upstream import HttpUpstream
from tests.fakes.proxy import fake_proxy
from tests.upstream.authority import Authority
from tests.upstream.raw_provider import PATIENT, WHOLE, Peer, answering, ask, post, raw_provider
from tests.waiting import BOUND

pytestmark = pytest.mark.anyio

NAME = "provider.example"  # resolves nowhere: only the proxy knows the way
HEADERS = [(b"authorization", b"Bearer the central key"), (b"proxy-connection", b"keep-alive")]
PASSWORD = "hunter2:@ü"
USER = "ada:hunter2%3A%40%C3%BC"
SENT = b"proxy-authorization: Basic " + base64.b64encode(f"ada:{PASSWORD}".encode())


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def through(url: str, request: UpstreamRequest) -> UpstreamRequest:
    return structs.replace(request, link=Link(proxy=Proxy.at(url)))


@pytest.mark.parametrize("outer", [False, True], ids=["http proxy", "https proxy"])
async def test_https_goes_through_a_tunnel_that_sees_neither_keys_nor_prompts(
    authority: Authority, outer: bool
) -> None:
    body = b"my prompt" * 50_000
    proxy_tls = authority.server("127.0.0.1") if outer else None
    upstream = HttpUpstream(ssl_context=authority.trusted())
    async with (
        raw_provider(answering(WHOLE), tls=authority.server(NAME), name=NAME) as provider,
        fake_proxy(provider.url, tls=proxy_tls, user=USER) as proxy,
    ):
        for _ in range(3):
            got = await ask(upstream, through(proxy.url, post(provider.url, body, headers=HEADERS)))
            assert got.body == b"ok"
        await upstream.close()

    port = provider.url.rpartition(":")[2].encode()
    assert proxy.heads == [
        b"CONNECT provider.example:%s HTTP/1.1\r\nhost: provider.example:%s\r\n%s\r\n\r\n" % (port, port, SENT)
    ]
    assert [peer.bodies for peer in provider.peers] == [[body] * 3]
    assert b"proxy-authorization" not in provider.peers[0].heads[0]
    assert b"authorization: Bearer the central key" in provider.peers[0].heads[0]


@pytest.mark.parametrize("outer", [False, True], ids=["http proxy", "https proxy"])
async def test_http_is_sent_to_the_proxy_with_the_whole_url(authority: Authority, outer: bool) -> None:
    proxy_tls = authority.server("127.0.0.1") if outer else None
    upstream = HttpUpstream(ssl_context=authority.trusted())
    async with (
        raw_provider(answering(WHOLE), name=NAME) as provider,
        fake_proxy(provider.url, tls=proxy_tls, user=USER) as proxy,
    ):
        for _ in range(2):
            asked = post(provider.url, b"body", "/v1/x?beta=true", headers=HEADERS)
            assert (await ask(upstream, through(proxy.url, asked))).body == b"ok"
        await upstream.close()

    [head] = proxy.heads
    authority_part = provider.url.removeprefix("http://").encode()
    assert head.startswith(b"POST http://%s/v1/x?beta=true HTTP/1.1\r\nhost: %s\r\n" % (authority_part, authority_part))
    assert head.count(SENT) == 1
    assert [len(peer.heads) for peer in provider.peers] == [2]


async def test_a_proxy_without_a_password_is_sent_none(authority: Authority) -> None:
    upstream = HttpUpstream(ssl_context=authority.trusted())
    async with (
        raw_provider(answering(WHOLE), tls=authority.server("::1", "127.0.0.1")) as provider,
        fake_proxy(provider.url) as proxy,
    ):
        port = provider.url.rpartition(":")[2]
        assert (await ask(upstream, through(proxy.url, post(f"https://[::1]:{port}")))).body == b"ok"
        await upstream.close()

    asked = f"CONNECT [::1]:{port} HTTP/1.1\r\nhost: [::1]:{port}\r\n\r\n"
    assert proxy.heads == [asked.encode()]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n", "did not take our cred"),
        (b"HTTP/1.1 403 hunter2 is forbidden\r\n\r\n", r"opened no way to the provider \(HTTP 403\)"),
        (b"HTTP/1.0 502 Bad Gateway\r\ncontent-length: 4\r\n\r\nhost", r"opened no way to the provider \(HTTP 502\)"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "what does not belong there"),
        (b"x" * 20_000, "not valid HTTP"),
        (b"", "the proxy closed the connection"),
        (b"HTTP/1.1 2", "the proxy closed the connection"),
    ],
)
@pytest.mark.parametrize("outer", [False, True], ids=["http proxy", "https proxy"])
async def test_a_proxy_that_opens_no_tunnel_is_said_without_its_address(
    authority: Authority, answer: bytes, told: str, outer: bool
) -> None:
    proxy_tls = authority.server("127.0.0.1") if outer else None
    upstream = HttpUpstream(ssl_context=authority.trusted())
    async with (
        raw_provider(answering(WHOLE), tls=authority.server(NAME), name=NAME) as provider,
        fake_proxy(provider.url, tls=proxy_tls, user=USER, answer=answer) as proxy,
    ):
        with pytest.raises(UpstreamUnreachable, match=told) as failed:
            await ask(upstream, through(proxy.url, post(provider.url, headers=HEADERS)))
        await upstream.close()

    assert not any(peer.heads for peer in provider.peers)
    assert not any(word in str(failed.value) for word in ("ada", "hunter2", NAME, "127.0.0.1"))


async def test_a_proxy_that_asks_for_a_password_is_no_answer_of_the_provider(authority: Authority) -> None:
    upstream = HttpUpstream()
    wants = b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n"
    async with raw_provider(answering(wants)) as proxy:
        with pytest.raises(UpstreamUnreachable, match="did not take our credential"):
            await ask(upstream, through(proxy.url, post("http://provider.example")))
        await upstream.close()


async def test_a_proxy_that_is_not_there_is_said(authority: Authority) -> None:
    upstream = HttpUpstream(ssl_context=authority.trusted())
    async with raw_provider(answering(WHOLE)) as gone:
        url = gone.url

    for scheme in ("http", "https"):
        with pytest.raises(UpstreamUnreachable, match="no connection to the proxy"):
            await ask(upstream, through(url, post(f"{scheme}://{NAME}")))
    for host in ("nobody.invalid", "x" * 70 + ".invalid"):
        with pytest.raises(UpstreamUnreachable, match="the proxy's host name cannot be resolved"):
            await ask(upstream, through(f"http://{host}", post(f"https://{NAME}")))


async def test_a_proxy_that_proves_no_name_is_told_nothing(authority: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "a stranger")
    upstream = HttpUpstream(ssl_context=authority.trusted())
    async with (
        raw_provider(answering(WHOLE), tls=authority.server(NAME), name=NAME) as provider,
        fake_proxy(provider.url, tls=stranger.server("127.0.0.1"), user=USER) as proxy,
    ):
        with pytest.raises(UpstreamUnreachable, match="the TLS connection to the proxy failed"):
            await ask(upstream, through(proxy.url, post(provider.url)))
        await upstream.close()

    assert proxy.heads == []


@pytest.mark.parametrize("outer", [False, True], ids=["http proxy", "https proxy"])
async def test_a_provider_behind_a_proxy_proves_its_name_all_the_same(authority: Authority, outer: bool) -> None:
    """Whoever runs the proxy must not be able to answer in the provider's place."""
    proxy_tls = authority.server("127.0.0.1") if outer else None
    upstream = HttpUpstream(ssl_context=authority.trusted())
    async with (
        raw_provider(answering(WHOLE), tls=authority.server("somebody.example"), name=NAME) as provider,
        fake_proxy(provider.url, tls=proxy_tls) as proxy,
    ):
        # asyncio before 3.11.8 and 3.12.2 tells its handler of a fault of its own, besides.
        loop = asyncio.get_running_loop()
        handler = loop.get_exception_handler()
        loop.set_exception_handler(lambda *_: None)
        with pytest.raises(UpstreamUnreachable, match="the TLS connection to the provider failed"):
            await ask(upstream, through(proxy.url, post(provider.url, headers=HEADERS)))
        loop.set_exception_handler(handler)
        await upstream.close()

    assert not any(peer.heads for peer in provider.peers)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_deadline_for_a_connection_holds_over_the_proxy_too(scheme: str) -> None:
    """A proxy that takes connections and never says a word: the tunnel, or the handshake with the proxy."""

    async def silent(peer: Peer) -> None:
        await peer.gone()

    upstream = HttpUpstream()
    async with raw_provider(silent) as proxy:
        url = proxy.url.replace("http://", f"{scheme}://")
        with pytest.raises(UpstreamUnreachable, match=r"no connection to the provider within 0\.15 s"):
            await ask(
                upstream, through(url, post(f"https://{NAME}")), UpstreamTimeouts(0.15, first_byte=BOUND, stall=BOUND)
            )
        await upstream.close()


@pytest.mark.parametrize("outer", [False, True], ids=["http proxy", "https proxy"])
@pytest.mark.parametrize("step", ["connect", "handshake"])
async def test_a_tunnel_in_the_making_can_be_given_up(authority: Authority, outer: bool, step: str) -> None:
    reached, closed = asyncio.Event(), asyncio.Event()

    async def silent(peer: Peer) -> None:
        if step == "handshake":
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        reached.set()
        await peer.gone()
        closed.set()

    upstream = HttpUpstream(ssl_context=authority.trusted())
    async with raw_provider(silent, tls=authority.server("127.0.0.1") if outer else None) as proxy:
        asking = asyncio.create_task(ask(upstream, through(proxy.url, post(f"https://{NAME}"))))
        async with asyncio.timeout(BOUND):
            await reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(1):
            await closed.wait()
        assert upstream._pool is not None
        assert not upstream._pool._all


@pytest.mark.parametrize("outer", [False, True], ids=["http proxy", "https proxy"])
async def test_a_stream_through_a_tunnel_comes_as_it_is_sent_and_may_break_off(
    authority: Authority, outer: bool
) -> None:
    read = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await read.wait()
        peer.end()

    upstream = HttpUpstream(ssl_context=authority.trusted())
    proxy_tls = authority.server("127.0.0.1") if outer else None
    async with (
        raw_provider(play, tls=authority.server(NAME), name=NAME) as provider,
        fake_proxy(provider.url, tls=proxy_tls) as proxy,
        asyncio.timeout(BOUND),
    ):
        async with upstream.open(through(proxy.url, post(provider.url)), PATIENT) as answer:
            assert await answer.read() == b"one"
            read.set()
            with pytest.raises(UpstreamReset):
                await answer.read()
        await upstream.close()


async def test_ways_to_one_address_are_not_mixed_up() -> None:
    upstream = HttpUpstream()
    async with raw_provider(answering(WHOLE)) as provider, fake_proxy(provider.url) as proxy:
        for _ in range(2):
            await ask(upstream, post(provider.url))
            await ask(upstream, through(proxy.url, post(provider.url)))
        await upstream.close()

    assert len(proxy.heads) == 1
    assert [len(peer.heads) for peer in provider.peers] == [2, 2]

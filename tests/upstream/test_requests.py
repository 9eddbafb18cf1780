"""What goes over the wire is the request, to the byte, with Host and Content-Length, and nothing else."""

import os

import pytest

from aibridge.errors import InvalidRequest
from aibridge.ports import UpstreamRequest
from aibridge.upstream import HttpUpstream
from tests.upstream.raw_provider import WHOLE, answering, ask, get, post, raw_provider

pytestmark = pytest.mark.anyio


async def test_a_request_is_its_line_host_headers_and_length(upstream: HttpUpstream) -> None:
    headers = [(b"x-api-key", b"k"), (b"anthropic-beta", b"a"), (b"anthropic-beta", b"b")]
    async with raw_provider(answering(WHOLE)) as provider:
        await ask(upstream, post(provider.url, b'{"a": 1}', "/v1/messages?beta=true&x=%2F", headers))
        [peer] = provider.peers
        host = provider.url.removeprefix("http://").encode()

    assert peer.heads == [
        b"POST /v1/messages?beta=true&x=%2F HTTP/1.1\r\nhost: " + host + b"\r\nx-api-key: k\r\nanthropic-beta: a\r\n"
        b"anthropic-beta: b\r\ncontent-length: 8\r\n\r\n"
    ]
    assert peer.bodies == [b'{"a": 1}']


async def test_values_that_are_no_utf_8_go_out_as_they_are(upstream: HttpUpstream) -> None:
    value = bytes(byte for byte in range(0x80, 0x100)) + b" \t!~"
    async with raw_provider(answering(WHOLE)) as provider:
        await ask(upstream, get(provider.url, headers=[(b"x-odd", value)]))

    assert b"\r\nx-odd: " + value + b"\r\n" in provider.peers[0].heads[0]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r", b"\0"])
@pytest.mark.parametrize("place", ["name", "value"])
async def test_a_header_that_would_begin_another_is_refused(upstream: HttpUpstream, end: bytes, place: str) -> None:
    smuggled = b"a" + end + b"x-smuggled: 1"
    header = (smuggled, b"v") if place == "name" else (b"n", smuggled)
    async with raw_provider(answering(WHOLE)) as provider:
        with pytest.raises(InvalidRequest):
            await ask(upstream, get(provider.url, headers=[header]))
        assert provider.peers == []


@pytest.mark.parametrize("name", [b"Host", b"content-length", b"Transfer-Encoding", b"CONNECTION"])
async def test_framing_and_host_are_ours_to_say(upstream: HttpUpstream, name: bytes) -> None:
    async with raw_provider(answering(WHOLE)) as provider:
        await ask(upstream, post(provider.url, headers=[(name, b"evil")]))

    assert b"evil" not in provider.peers[0].heads[0]


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [
        ("GET", b"", None),
        ("HEAD", b"", None),
        ("DELETE", b"", None),
        ("POST", b"", b"0"),
        ("PUT", b"", b"0"),
        ("GET", b"odd", b"3"),
        ("DELETE", b"{}", b"2"),
    ],
)
async def test_a_length_is_told_where_a_body_is_expected(
    upstream: HttpUpstream, method: str, body: bytes, length: bytes | None
) -> None:
    async with raw_provider(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as provider:
        await ask(upstream, UpstreamRequest(method, provider.url + "/x", [], body))
        [peer] = provider.peers

    told = [line.partition(b": ")[2] for line in peer.heads[0].split(b"\r\n") if line.startswith(b"content-length")]
    assert told == ([] if length is None else [length])
    assert peer.bodies == [body]


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 8 * 1024 * 1024])
async def test_a_body_of_any_size_arrives_whole(upstream: HttpUpstream, size: int) -> None:
    body = os.urandom(size)
    async with raw_provider(answering(WHOLE)) as provider:
        await ask(upstream, post(provider.url, body))

    assert provider.peers[0].bodies == [body]


@pytest.mark.parametrize(("url", "line"), [("", b"GET / "), ("?a=b", b"GET /?a=b "), ("/", b"GET / ")])
async def test_a_base_url_without_a_path_asks_for_the_root(upstream: HttpUpstream, url: str, line: bytes) -> None:
    async with raw_provider(answering(WHOLE)) as provider:
        await ask(upstream, get(provider.url, url))

    assert provider.peers[0].heads[0].startswith(line)


async def test_an_address_of_ip_version_6_is_reached_and_named_in_brackets(upstream: HttpUpstream) -> None:
    async with raw_provider(answering(WHOLE), host="::1") as provider:
        got = await ask(upstream, get(provider.url))

    assert got.body == b"ok"
    assert b"\r\nhost: [::1]:" in provider.peers[0].heads[0]


async def test_no_redirect_is_followed_and_no_proxy_of_the_environment_used(
    upstream: HttpUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    redirect = b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
    async with raw_provider(answering(redirect)) as provider:
        got = await ask(upstream, post(provider.url))

    assert (got.status, dict(got.headers)[b"location"]) == (307, b"/elsewhere")
    assert len(provider.peers[0].heads) == 1

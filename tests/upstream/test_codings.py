"""Answers that are compressed although nobody asked: decoded for whoever reads them, left alone for whoever relays."""

import gzip
import sys
import zlib

import pytest

from aibridge.errors import UpstreamReset
from aibridge.upstream import HttpUpstream
from tests.upstream.raw_provider import answering, ask, post, raw_provider

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.anyio

PLAIN = b'{"id": "msg_1", "text": "' + b"plain " * 2000 + b'"}'
CODED = {"gzip": gzip.compress(PLAIN), "deflate": zlib.compress(PLAIN), "zstd": zstd.compress(PLAIN)}


def answer(coding: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {len(body)}\r\nx-request-id: r\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize("coding", CODED)
async def test_a_compressed_answer_is_decoded_and_its_headers_say_nothing_of_it(
    upstream: HttpUpstream, coding: str
) -> None:
    async with raw_provider(answering(answer(coding.upper(), CODED[coding]))) as provider:
        got = await ask(upstream, post(provider.url))
        again = await ask(upstream, post(provider.url))

    assert got.body == again.body == PLAIN
    assert got.headers == [(b"x-request-id", b"r")]
    assert len(provider.peers) == 1


@pytest.mark.parametrize("coding", CODED)
async def test_a_compressed_answer_may_come_byte_by_byte(upstream: HttpUpstream, coding: str) -> None:
    sent = answer(coding, CODED[coding])
    async with raw_provider(answering(*(sent[i : i + 1] for i in range(len(sent))))) as provider:
        assert (await ask(upstream, post(provider.url))).body == PLAIN


@pytest.mark.parametrize("coding", CODED)
async def test_who_relays_unread_gets_it_as_it_came(upstream: HttpUpstream, coding: str) -> None:
    async with raw_provider(answering(answer(coding, CODED[coding]))) as provider:
        got = await ask(upstream, post(provider.url), decode=False)

    assert got.body == CODED[coding]
    assert (b"Content-Encoding", coding.encode()) in got.headers


@pytest.mark.parametrize("coding", ["br", "gzip, gzip", "identity"])
async def test_a_coding_that_we_do_not_know_passes_as_it_came(upstream: HttpUpstream, coding: str) -> None:
    async with raw_provider(answering(answer(coding, b"as it came"))) as provider:
        got = await ask(upstream, post(provider.url))

    assert got.body == b"as it came"
    assert (b"Content-Encoding", coding.encode()) in got.headers


@pytest.mark.parametrize("coding", CODED)
async def test_a_compressed_answer_that_is_cut_is_not_whole_although_its_length_fits(
    upstream: HttpUpstream, coding: str
) -> None:
    async with raw_provider(answering(answer(coding, CODED[coding][:-3]))) as provider:
        with pytest.raises(UpstreamReset):
            await ask(upstream, post(provider.url))


@pytest.mark.parametrize("coding", CODED)
async def test_what_is_not_compressed_as_it_says_is_an_error(upstream: HttpUpstream, coding: str) -> None:
    async with raw_provider(answering(answer(coding, PLAIN))) as provider:
        with pytest.raises(UpstreamReset, match="cannot be decompressed"):
            await ask(upstream, post(provider.url))


async def test_an_empty_body_is_whole_in_any_coding(upstream: HttpUpstream) -> None:
    async with raw_provider(answering(answer("gzip", b""))) as provider:
        assert (await ask(upstream, post(provider.url))).body == b""

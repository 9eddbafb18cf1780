"""How an answer's end is found: by length, by chunks, by the end of the connection, or because it has no body."""

import asyncio
import itertools

import pytest

from aibridge.upstream import HttpUpstream
from tests.upstream.raw_provider import PATIENT, WHOLE, Peer, answering, ask, get, post, raw_provider

pytestmark = pytest.mark.anyio

BY_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-A: 1\r\n\r\nhello world"
BY_CHUNKS = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"
    b"5\r\nhello\r\n1;ext=x\r\n \r\n005\r\nworld\r\n0\r\nTrailer: t\r\n\r\n"
)
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nhello world"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + BY_LENGTH
ANSWERS = {"length": BY_LENGTH, "chunks": BY_CHUNKS, "connection": UNTIL_CLOSED, "interim": INTERIM}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_is_the_same_wherever_it_is_split(upstream: HttpUpstream, answer: bytes) -> None:
    """One connection for each of the places: all of them at once."""
    splits = [(answer[:at], answer[at:]) for at in range(1, len(answer))]
    numbers = itertools.count()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(*splits[next(numbers)])

    async with raw_provider(play) as provider, asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(upstream, post(provider.url))) for _ in splits]

    for task in tasks:
        got = task.result()
        assert (got.status, got.body) == (200, b"hello world")
        assert (b"X-A", b"1") in got.headers


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_an_answer_is_the_same_byte_by_byte(upstream: HttpUpstream, answer: bytes) -> None:
    pieces = [answer[i : i + 1] for i in range(len(answer))]
    async with raw_provider(answering(*pieces, ends=True)) as provider:
        assert (await ask(upstream, post(provider.url))).body == b"hello world"


async def test_what_comes_is_handed_on_as_soon_as_it_comes(upstream: HttpUpstream) -> None:
    goes_on = asyncio.Event()

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        await goes_on.wait()
        await peer.send(b"3\r\ntwo\r\n0\r\n\r\n")

    async with raw_provider(play) as provider, asyncio.timeout(5), upstream.open(post(provider.url), PATIENT) as answer:
        assert await answer.read() == b"one"
        assert not answer.at_end
        goes_on.set()
        assert await answer.read() == b"two"
        assert await answer.read() == b""
        assert await answer.read() == b""


async def test_the_end_that_came_with_the_last_bytes_is_known_without_waiting(upstream: HttpUpstream) -> None:
    async with raw_provider(answering(WHOLE)) as provider, upstream.open(post(provider.url), PATIENT) as answer:
        assert await answer.read() == b"ok"
        assert answer.at_end


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_an_answer_that_never_has_a_body_is_whole_with_its_head(upstream: HttpUpstream, status: bytes) -> None:
    async with raw_provider(answering(b"HTTP/1.1 " + status + b"\r\netag: x\r\n\r\n")) as provider:
        first = await ask(upstream, get(provider.url))
        await ask(upstream, get(provider.url))

    assert (first.status, first.body, first.headers) == (int(status[:3]), b"", [(b"etag", b"x")])
    assert len(provider.peers) == 1


@pytest.mark.parametrize("framing", [b"content-length: 5000", b"transfer-encoding: chunked", b"x: y"])
async def test_an_answer_to_head_has_no_body_whatever_its_head_says(upstream: HttpUpstream, framing: bytes) -> None:
    async with raw_provider(answering(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")) as provider:
        request = get(provider.url)
        got = await ask(upstream, type(request)("HEAD", request.url, [], b""))

    assert (got.status, got.body) == (200, b"")
    assert tuple(framing.split(b": ")) in got.headers


async def test_an_empty_body_is_whole(upstream: HttpUpstream) -> None:
    async with raw_provider(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")) as provider:
        assert (await ask(upstream, post(provider.url))).body == b""


async def test_a_body_without_length_may_be_empty(upstream: HttpUpstream) -> None:
    async with raw_provider(answering(b"HTTP/1.0 200 OK\r\n\r\n", ends=True)) as provider:
        assert (await ask(upstream, post(provider.url))).body == b""


async def test_header_values_come_as_they_were_sent_in_their_order(upstream: HttpUpstream) -> None:
    head = b"HTTP/1.1 200 OK\r\nX-B: caf\xe9\r\nx-a: \xff\xfe\r\nX-B:  two \r\nset-cookie: a=1\r\ncontent-length: 0\r\n\r\n"
    async with raw_provider(answering(head)) as provider:
        got = await ask(upstream, post(provider.url))

    assert got.headers == [
        (b"X-B", b"caf\xe9"),
        (b"x-a", b"\xff\xfe"),
        (b"X-B", b"two"),
        (b"set-cookie", b"a=1"),
        (b"content-length", b"0"),
    ]


async def test_trailers_do_not_become_headers(upstream: HttpUpstream) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: request-id\r\n\r\n2\r\nok\r\n0\r\n"
    async with raw_provider(answering(chunked + b"request-id: another\r\nx-late: 1\r\n\r\n")) as provider:
        first = await ask(upstream, post(provider.url))
        second = await ask(upstream, post(provider.url))

    assert first.body == b"ok"
    assert first.headers == second.headers == [(b"Transfer-Encoding", b"chunked"), (b"Trailer", b"request-id")]
    assert len(provider.peers) == 1


async def test_a_large_body_comes_whole(upstream: HttpUpstream) -> None:
    body = bytes(range(256)) * 4096 * 4
    async with raw_provider(answering(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)) as provider:
        assert (await ask(upstream, post(provider.url))).body == body

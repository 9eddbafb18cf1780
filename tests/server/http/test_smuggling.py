"""Requests that two parsers could read differently: refused with a 400 and the end of the connection, or re-framed.

The second request that hides in each of them must never be run.
"""

import pytest

from tests.server.http.raw import Echo, connected, served

pytestmark = pytest.mark.anyio

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

REFUSED = {
    "content-length beside transfer-encoding": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding beside content-length": b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two content-lengths": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 33\r\n\r\n",
    "two equal content-lengths": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of content-lengths": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n",
    "a signed content-length": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n",
    "a content-length in hex": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0x0\r\n\r\n",
    "an empty content-length": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n",
    "an endless content-length": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 184467440737095516160\r\n\r\n",
    "obs-fold": b"POST /x HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
    "obs-fold in transfer-encoding": b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "bare LF everywhere": b"POST /x HTTP/1.1\nHost: a\n\n",
    "bare LF after a header": b"POST /x HTTP/1.1\r\nHost: a\nContent-Length: 33\r\n\r\n",
    "bare LF after the request line": b"POST /x HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF at the end of the head": b"POST /x HTTP/1.1\r\nHost: a\r\n\n",
    "bare CR in a header": b"POST /x HTTP/1.1\r\nHost: a\rContent-Length: 33\r\n\r\n",
    "gzip, chunked": CHUNKED.replace(b"chunked", b"gzip, chunked") + b"0\r\n\r\n",
    "chunked, identity": CHUNKED.replace(b"chunked", b"chunked, identity") + b"0\r\n\r\n",
    "chunked, chunked": CHUNKED.replace(b"chunked", b"chunked, chunked") + b"0\r\n\r\n",
    "identity": CHUNKED.replace(b"chunked", b"identity"),
    "xchunked": CHUNKED.replace(b"chunked", b"xchunked") + b"0\r\n\r\n",
    "chunked behind a vertical tab": CHUNKED.replace(b" chunked", b" \x0bchunked") + b"0\r\n\r\n",
    "two transfer-encodings": CHUNKED.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"0\r\n\r\n",
    "two different transfer-encodings": CHUNKED.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: x\r\n\r\n")
    + b"0\r\n\r\n",
    "an empty transfer-encoding": CHUNKED.replace(b"chunked", b""),
    "chunked in HTTP/1.0": CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"0\r\n\r\n",
    "chunks with bare LF": CHUNKED + b"1\nx\n0\n\n",
    "a chunk extension that ends in LF": CHUNKED + b"1;a\nx\r\n0\r\n\r\n",
    "a space after the chunk size": CHUNKED + b"1 \r\nx\r\n0\r\n\r\n",
    "a chunk size in 0x": CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n",
    "a negative chunk size": CHUNKED + b"-1\r\nx\r\n0\r\n\r\n",
    "an endless chunk size": CHUNKED + b"10000000000000001\r\nx\r\n0\r\n\r\n",
    "a chunk longer than its size": CHUNKED + b"1\r\nxyz\r\n0\r\n\r\n",
    "a trailer with bare LF": CHUNKED + b"0\r\nX: y\nZ: 1\r\n\r\n",
    "a content-length in the trailers": CHUNKED + b"0\r\nContent-Length: 33\r\n\r\n",
    "a transfer-encoding in the trailers": CHUNKED + b"0\r\nTransfer-Encoding: identity\r\n\r\n",
    "two hosts": b"POST /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two equal hosts": b"POST /x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "no host": b"POST /x HTTP/1.1\r\n\r\n",
    "a host with a path": b"POST /x HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "a host with a user": b"POST /x HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "a host with a space": b"POST /x HTTP/1.1\r\nHost: a b\r\n\r\n",
    "two hosts in one": b"POST /x HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "NUL in a value": b"POST /x HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "NUL in a name": b"POST /x HTTP/1.1\r\nHost: a\r\nX\x00: b\r\n\r\n",
    "NUL in the target": b"POST /x\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a control character in a value": b"POST /x HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n",
    "a space before the colon": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length : 33\r\n\r\n",
    "a tab before the colon": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length\t: 33\r\n\r\n",
    "a space before the first header": b"POST /x HTTP/1.1\r\n Host: a\r\n\r\n",
    "a header without a colon": b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length\r\n\r\n",
    "a header without a name": b"POST /x HTTP/1.1\r\nHost: a\r\n: 33\r\n\r\n",
    "absolute-form": b"POST http://b/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority-form": b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk-form": b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "a fragment": b"GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is not ASCII": b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n",
    "a tab in the request line": b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n",
    "HTTP/0.9": b"GET /x\r\n\r\n",
    "HTTP/1.2": b"GET /x HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2.0": b"GET /x HTTP/2.0\r\nHost: a\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method in lower case": b"get /x HTTP/1.1\r\nHost: a\r\n\r\n",
    "TLS on a port without": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("split", [False, True], ids=["at once", "byte by byte"])
async def test_it_is_refused_with_a_400_and_nothing_behind_it_is_run(kind: str, split: bool) -> None:
    data = REFUSED[kind] + HIDDEN
    echo = Echo()
    async with served(echo) as server, connected(server.port) as client:
        if split:
            for byte in data:
                await client.send(bytes((byte,)))
        else:
            await client.send(data)
        reply = await client.reply()
        rest = await client.rest()

    assert reply.status == 400
    assert reply.header("connection") == "close"
    assert reply.header("content-type") == "application/json"
    assert reply.body.startswith(b'{"type":"error","error":{"type":"invalid_request_error","message":')
    assert rest == b""
    # A body may break after its request has begun; such a request sees its client disconnect, never a body.
    assert echo.bodies == []
    assert all(scope["path"] == "/x" for scope in echo.scopes)


async def test_trailers_are_read_and_dropped_and_never_become_headers() -> None:
    echo = Echo()
    trailers = b"X-Api-Key: stolen\r\nHost: b\r\n"
    async with served(echo) as server, connected(server.port) as client:
        await client.send(CHUNKED + b"3;ext=1\r\nabc\r\n0\r\n" + trailers + b"\r\n" + HIDDEN)
        replies = [await client.reply() for _ in range(2)]

    assert [(reply.status, reply.body) for reply in replies] == [(200, b"abc"), (200, b"")]
    assert [scope["path"] for scope in echo.scopes] == ["/x", "/hidden"]
    assert echo.scopes[0]["headers"] == [(b"host", b"a"), (b"transfer-encoding", b"chunked")]


async def test_what_follows_a_request_that_closes_the_connection_is_never_run() -> None:
    echo = Echo()
    last = HIDDEN.replace(b"/hidden", b"/x").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with served(echo) as server, connected(server.port) as client:
        await client.send(last + HIDDEN)
        assert (await client.reply()).status == 200
        assert await client.rest() == b""

    assert [scope["path"] for scope in echo.scopes] == ["/x"]


async def test_a_broken_request_behind_a_good_one_waits_for_its_turn_to_be_refused() -> None:
    echo = Echo()
    async with served(echo) as server, connected(server.port) as client:
        await client.send(HIDDEN + HIDDEN + REFUSED["two hosts"] + HIDDEN)
        statuses = [(await client.reply()).status for _ in range(3)]
        assert await client.rest() == b""

    assert statuses == [200, 200, 400]
    assert len(echo.scopes) == 2


async def test_an_endless_chunk_extension_is_cut_off() -> None:
    echo = Echo()
    async with served(echo) as server, connected(server.port) as client:
        await client.send(CHUNKED + b"1;")
        for _ in range(80):
            await client.send(b"a" * 4096)
        assert (await client.reply()).status == 400

    assert echo.bodies == []


async def test_endless_trailers_are_cut_off() -> None:
    echo = Echo()
    async with served(echo) as server, connected(server.port) as client:
        await client.send(CHUNKED + b"1\r\nx\r\n0\r\n")
        for _ in range(80):
            await client.send(b"X: %b\r\n" % (b"a" * 4096))
        assert (await client.reply()).status == 400

    assert echo.bodies == []

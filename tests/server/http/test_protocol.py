"""What a client and an application see of each other through our connection class."""

import asyncio
import gc

import pytest

from aibridge.errors import AnswerBroken
from aibridge.server.http.asgi import Receive, Scope, Send
from aibridge.server.http.exchange import Exchange
from aibridge.server.http.limits import Limits
from aibridge.server.http.protocol import HttpConnection
from tests.server.http.raw import GET, Echo, Stream, connected, read_body, respond, served, within

pytestmark = pytest.mark.anyio

POST = b"POST /a%20b?q=1 HTTP/1.1\r\nHost: a\r\nX-Mixed: One \r\nContent-Length: 5\r\n\r\nhello"


async def test_a_request_arrives_as_the_asgi_scope_and_its_body_comes_back() -> None:
    echo = Echo()
    async with served(echo) as server, connected(server.port) as client:
        await client.send(POST)
        reply = await client.reply()

    scope = echo.scopes[0]
    assert (reply.status, reply.body) == (200, b"hello")
    assert (scope["method"], scope["path"], scope["raw_path"], scope["query_string"]) == (
        "POST",
        "/a b",
        b"/a%20b",
        b"q=1",
    )
    assert scope["headers"] == [(b"host", b"a"), (b"x-mixed", b"One"), (b"content-length", b"5")]
    assert scope["client"][0] == "127.0.0.1"
    assert scope["server"] == ("127.0.0.1", server.port)


async def test_a_reply_has_one_date_and_does_not_say_what_made_it() -> None:
    async def dated(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")] if scope["path"] == "/dated" else []
        await respond(send, b"", headers=headers)

    async with served(dated) as server, connected(server.port) as client:
        await client.send(GET)
        plain = await client.reply()
        await client.send(GET.replace(b"/x", b"/dated"))
        own = await client.reply()

    assert plain.header("date") is not None
    assert own.header("date") == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert plain.header("server") is None


async def test_five_hundred_requests_use_one_connection() -> None:
    echo = Echo()
    async with served(echo) as server, connected(server.port) as client:
        for _ in range(500):
            await client.send(POST)
            assert (await client.reply()).body == b"hello"

    assert len({scope["client"] for scope in echo.scopes}) == 1


async def test_pipelined_requests_are_answered_one_at_a_time_and_in_order() -> None:
    running = 0

    async def one_at_a_time(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal running
        running += 1
        assert running == 1
        body = await read_body(receive)
        await asyncio.sleep(0)
        running -= 1
        await respond(send, scope["raw_path"] + body)

    async with served(one_at_a_time) as server, connected(server.port) as client:
        await client.send(
            b"".join(b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n%02d" % (n, n) for n in range(12))
        )
        bodies = [(await client.reply()).body for _ in range(12)]

    assert bodies == [b"/%d%02d" % (n, n) for n in range(12)]


async def test_more_pipelined_requests_than_may_wait_end_the_connection_after_those_that_may() -> None:
    async with served(Echo(), limits=Limits(pipelined=3)) as server, connected(server.port) as client:
        await client.send(GET * 10)
        statuses = [(await client.reply()).status for _ in range(5)]
        rest = await client.rest()

    assert statuses == [200, 200, 200, 200, 400]
    assert rest == b""


async def test_a_large_body_is_read_only_as_fast_as_the_application_takes_it() -> None:
    go = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await respond(send, b"%d" % len(await read_body(receive)))

    size = 50_000_000  # more than the socket buffers of both sides hold
    async with served(slow) as server, connected(server.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        client.writer.write(b"x" * size)
        draining = asyncio.create_task(client.writer.drain())
        done, _ = await asyncio.wait({draining}, timeout=0.5)
        assert not done
        go.set()
        await within(draining)
        reply = await client.reply()

    assert reply.body == b"%d" % size


async def test_expect_100_continue_is_answered_when_the_application_asks_for_the_body() -> None:
    async with served(Echo()) as server, connected(server.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        interim = await client.reply(to_head=True)
        await client.send(b"ok")
        reply = await client.reply()

    assert interim.status == 100
    assert (reply.status, reply.body) == (200, b"ok")


async def test_an_answer_before_the_end_of_a_large_body_reaches_the_client_that_still_sends() -> None:
    async def too_large(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"too large", status=413)

    async with served(too_large) as server, connected(server.port) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n")
        for _ in range(50):  # 8 MB in all, more than the sockets buffer: it must be taken off our hands
            await client.send(b"x" * 160_000)
        reply = await client.reply()

    assert (reply.status, reply.body) == (413, b"too large")
    assert reply.header("connection") == "close"


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
@pytest.mark.parametrize("status", [204, 304, 200])
async def test_a_reply_without_a_body_leaves_the_connection_in_step(method: bytes, status: int) -> None:
    async def bodiless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"never" if scope["method"] == "HEAD" else b""})

    bare = method == b"HEAD" or status in (204, 304)
    async with served(bodiless) as server, connected(server.port) as client:
        for _ in range(2):
            await client.send(GET.replace(b"GET", method))
            reply = await client.reply(to_head=bare)
            assert (reply.status, reply.body) == (status, b"")
            assert (reply.header("transfer-encoding") is None) == bare


async def test_a_204_tells_no_length_which_clients_may_take_for_a_fault() -> None:
    async def empty(scope: Scope, receive: Receive, send: Send) -> None:
        await respond(send, b"", status=204)

    async with served(empty) as server, connected(server.port) as client:
        for _ in range(2):
            await client.send(GET)
            reply = await client.reply()
            assert (reply.status, reply.header("content-length"), reply.header("connection")) == (204, None, None)


async def test_a_client_of_http_1_0_gets_no_chunks_and_the_end_of_the_connection() -> None:
    stream = Stream()
    for chunk in (b"one", b"two", None):
        stream.chunks.put_nowait(chunk)
    async with served(stream) as server, connected(server.port) as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        reply = await client.reply()

    assert reply.header("transfer-encoding") is None
    assert reply.header("connection") == "close"
    assert reply.body == b"onetwo"


async def test_each_event_reaches_the_client_when_it_is_sent_not_later() -> None:
    stream = Stream()
    async with served(stream) as server, connected(server.port) as client:
        await client.send(GET)
        for number in range(5):
            stream.chunks.put_nowait(b"event %d" % number)
            if number == 0:
                assert (await client.reply(to_head=True)).status == 200
            assert await client.chunk() == b"event %d" % number
        stream.chunks.put_nowait(None)
        assert await client.chunk() == b""
        await client.send(GET)  # and the connection goes on
        stream.chunks.put_nowait(None)
        assert (await client.reply()).body == b""


async def test_the_application_learns_at_once_that_its_client_went_away() -> None:
    stream = Stream()
    async with served(stream) as server, connected(server.port) as client:
        await client.send(GET)
        stream.chunks.put_nowait(b"x")
        await client.reply(to_head=True)
        client.close()
        await within(stream.gone.wait())


async def test_sending_to_a_client_that_is_gone_raises_so_that_no_stream_goes_on_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    raised: list[OSError] = []
    ended = asyncio.Event()

    async def never_listens(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        except OSError as gone:
            raised.append(gone)
            raise
        finally:
            ended.set()

    async with served(never_listens) as server:
        async with connected(server.port) as client:
            await client.send(GET)
            await client.reply(to_head=True)
        await within(ended.wait())

    assert len(raised) == 1
    assert caplog.text == ""  # a client that hangs up is nobody's fault


async def test_a_body_that_breaks_off_is_a_disconnect_and_not_a_short_body() -> None:
    echo = Echo()
    async with served(echo) as server, connected(server.port) as client:
        await client.send(POST[:-2])
        client.writer.write_eof()
        assert await client.rest() == b""

    assert (echo.disconnects, echo.bodies) == (1, [])


async def test_an_application_that_fails_before_its_reply_gives_a_500_without_its_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError("a secret reason")

    async with served(failing) as server, connected(server.port) as client:
        await client.send(GET)
        reply = await client.reply()
        rest = await client.rest()

    assert reply.status == 500
    assert b"secret" not in reply.body
    assert rest == b""
    assert "a secret reason" in caplog.text  # the operator sees it


async def test_an_application_that_fails_in_its_reply_breaks_it_off_so_that_nobody_takes_it_for_whole() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ZeroDivisionError

    async with served(failing) as server, connected(server.port) as client:
        await client.send(GET)
        await client.reply(to_head=True)
        assert await client.rest() == b"4\r\nhalf\r\n"


async def test_an_answer_that_cannot_be_completed_is_cut_and_leaves_a_line_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"50")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise AnswerBroken("the provider's answer broke off")

    async with served(broken) as server, connected(server.port) as client:
        await client.send(GET)
        await client.reply(to_head=True)
        assert await client.rest() == b"half"

    [line] = caplog.records
    assert (line.levelname, line.getMessage(), line.exc_info) == ("WARNING", "an answer was cut", None)
    assert vars(line)["why"] == "the provider's answer broke off"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"x", b"a\r\nset-cookie: b")],
        [(b"x\r\ny", b"a")],
        [(b"x", b"a\0b")],
        [(b"content-length", b"1"), (b"content-length", b"1")],
        [(b"content-length", b"+1")],
    ],
)
async def test_a_response_header_that_would_split_the_reply_becomes_a_500(headers: list[tuple[bytes, bytes]]) -> None:
    async def splitting(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x"})

    async with served(splitting) as server, connected(server.port) as client:
        await client.send(GET)
        assert (await client.reply()).status == 500


@pytest.mark.parametrize("body", [b"short", b"much too long"])
async def test_a_body_of_another_length_than_announced_never_passes_as_whole(body: bytes) -> None:
    async def lying(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"7")]})
        await send({"type": "http.response.body", "body": body})

    async with served(lying) as server, connected(server.port) as client:
        await client.send(GET)
        assert (await client.reply()).status == 500


async def test_a_connection_that_ended_leaves_nothing_for_the_garbage_collector() -> None:
    # A collection over everything that thousands of streams hold takes long enough to be seen in all of them.
    gone = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    gc.collect()
    gc.disable()
    try:
        async with served(Echo()) as server:
            for request in (gone, b"BAD\r\n\r\n", POST + POST[:-2]):
                async with connected(server.port) as client:
                    await client.send(request)
                    await client.reply()
            await within(server._population.emptied())
            await asyncio.sleep(0)
            left = [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, HttpConnection | Exchange)]
    finally:
        gc.enable()

    assert left == []


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/openai/v1/responses", 426),
        (b"/openai/v1/responses/?x=1", 426),
        (b"/copilot/responses", 426),
        (b"/openai/v1/chat/completions", 501),
        (b"/responses-not", 501),
    ],
)
async def test_a_websocket_handshake_is_told_to_use_post_where_codex_tries_it(target: bytes, status: int) -> None:
    echo = Echo()
    async with served(echo) as server, connected(server.port) as client:
        await client.send(
            b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" % target
        )
        reply = await client.reply()

    assert reply.status == status
    assert reply.header("content-type") == "application/json"
    assert b'"error":{"type":"invalid_request_error","message":' in reply.body
    assert echo.scopes == []


@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"\r\n",
    ],
)
async def test_an_offer_to_upgrade_to_http_2_is_ignored_and_the_body_still_read(framed: bytes) -> None:
    # Java's HttpClient sends this with its first request on every cleartext connection.
    head = (
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"
    )
    for cut in (len(head) + len(framed), len(head) + 3, len(head) + len(framed) - 2):
        echo = Echo()
        async with served(echo) as server, connected(server.port) as client:
            data = head + framed
            await client.send(data[:cut])
            if data[cut:]:
                await asyncio.sleep(0)  # two reads of the server, or one: both must do
                await client.send(data[cut:])
            reply = await client.reply()

        assert (reply.status, reply.body) == (200, b"hello" if b"llo" in framed else b"")

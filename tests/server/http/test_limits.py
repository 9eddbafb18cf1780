"""How much a client may: head, headers, connections."""

import pytest

from aibridge.server.http.limits import Deadlines, Limits
from tests.server.http.raw import GET, Echo, RawClient, Stream, connected, served, within

pytestmark = pytest.mark.anyio


def padded(size: int) -> bytes:
    """A request whose head has that many bytes."""
    frame = b"GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n"
    return frame.replace(b"X: ", b"X: " + b"a" * (size - len(frame)))


async def test_a_head_of_64_kib_is_taken_and_a_larger_one_refused() -> None:
    async with served(Echo()) as server:
        async with connected(server.port) as client:
            await client.send(padded(65_500))
            assert (await client.reply()).status == 200
        async with connected(server.port) as client:
            await client.send(padded(65_700))
            reply = await client.reply()
            assert await client.rest() == b""

    assert reply.status == 431
    assert reply.header("connection") == "close"


async def test_a_head_without_an_end_is_refused_long_before_it_ends() -> None:
    for start in (b"GET /", b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 150):
        async with served(Echo()) as server, connected(server.port) as client:
            await client.send(start)
            for _ in range(100):
                await client.send(b"a" * 4096)
            assert (await client.reply()).status == 431


async def test_two_hundred_headers_are_taken_and_one_more_is_refused() -> None:
    echo = Echo()
    async with served(echo) as server, connected(server.port) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 199 + b"\r\n")
        assert (await client.reply()).status == 200
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n")
        assert (await client.reply()).status == 431

    assert len(echo.scopes[0]["headers"]) == 200


async def test_a_large_body_behind_a_small_head_is_no_large_head() -> None:
    body = b"x" * 300_000
    async with served(Echo()) as server, connected(server.port) as client:
        for _ in range(3):
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert len((await client.reply()).body) == len(body)


async def test_above_the_cap_a_connection_gets_a_503_and_those_below_go_on() -> None:
    limits = Limits(connections=2)
    async with (
        served(Echo(), limits=limits) as server,
        connected(server.port) as first,
        connected(server.port) as second,
    ):
        for client in (first, second):
            await client.send(GET)
            assert (await client.reply()).status == 200
        async with connected(server.port) as third:
            await third.send(GET)
            reply = await third.reply()
            assert await third.rest() == b""
        await first.send(GET)
        assert (await first.reply()).status == 200

    assert reply.status == 503
    assert (reply.header("connection"), reply.header("retry-after")) == ("close", "1")


async def test_a_silent_connection_above_the_cap_is_told_too() -> None:
    limits = Limits(connections=0, deadlines=Deadlines(linger=0.05))
    async with served(Echo(), limits=limits) as server, connected(server.port) as client:
        assert (await client.reply()).status == 503
        assert await client.rest() == b""


async def test_room_below_the_cap_is_used_again() -> None:
    limits = Limits(connections=1)
    async with served(Echo(), limits=limits) as server:
        for _ in range(20):
            async with connected(server.port) as client:
                await client.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                assert (await client.reply()).status == 200
                assert await client.rest() == b""


async def test_a_flood_far_above_the_cap_is_answered_without_waiting_for_a_request() -> None:
    limits = Limits(connections=1, deadlines=Deadlines(linger=0.5))
    stream = Stream()
    async with served(stream, limits=limits) as server, connected(server.port) as kept:
        await kept.send(GET)
        await within(stream.asked.wait())
        flood = [connected(server.port) for _ in range(300)]
        clients: list[RawClient] = [await opened.__aenter__() for opened in flood]
        statuses = {(await client.reply()).status for client in clients}
        for opened in flood:
            await opened.__aexit__(None, None, None)
        stream.chunks.put_nowait(b"still here")
        stream.chunks.put_nowait(None)
        assert (await kept.reply()).body == b"still here"

    assert statuses == {503}

"""How long a client may. The deadlines are the real ones, shortened."""

import asyncio
import socket
import time

import pytest

from aibridge.server.http.asgi import Receive, Scope, Send
from aibridge.server.http.limits import Deadlines
from aibridge.server.http.population import Population
from aibridge.server.http.protocol import HttpConnection
from tests.server.http.raw import GET, Echo, Endless, connected, read_body, served, unread, within

pytestmark = pytest.mark.anyio

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"


async def trickle(client_send: asyncio.StreamWriter, data: bytes, every: float) -> None:
    """Send byte by byte, for as long as the server takes it."""
    for byte in data:
        client_send.write(bytes((byte,)))
        await asyncio.sleep(every)


async def test_a_head_that_trickles_in_is_refused_when_its_time_is_over() -> None:
    echo = Echo()
    async with served(echo, deadlines=Deadlines(head=0.3)) as server, connected(server.port) as client:
        began = time.monotonic()
        slowly = asyncio.create_task(trickle(client.writer, GET * 3, 0.02))
        reply = await client.reply()
        took = time.monotonic() - began
        slowly.cancel()

    assert reply.status == 408
    assert reply.header("connection") == "close"
    assert 0.25 < took < 2  # each byte would have started it anew otherwise
    assert echo.scopes == []


async def test_a_connection_that_sends_nothing_is_closed_without_a_word() -> None:
    async with served(Echo(), deadlines=Deadlines(head=0.1)) as server, connected(server.port) as client:
        assert await client.rest() == b""


async def test_the_time_between_two_requests_is_bounded_and_starts_with_the_answer() -> None:
    async with served(Echo(), deadlines=Deadlines(head=5, idle=0.2)) as server, connected(server.port) as client:
        for _ in range(5):
            await client.send(GET)
            assert (await client.reply()).status == 200
        began = time.monotonic()
        assert await client.rest() == b""
        took = time.monotonic() - began

    assert 0.15 < took < 2


async def test_a_head_after_idling_has_its_own_whole_time() -> None:
    deadlines = Deadlines(head=2, idle=0.2)
    async with served(Echo(), deadlines=deadlines) as server, connected(server.port) as client:
        await client.send(GET)
        await client.reply()
        await client.send(GET[:5])
        with pytest.raises(TimeoutError):  # longer than it might have been idle
            async with asyncio.timeout(0.5):
                await client.reader.read()
        await client.send(GET[5:])
        assert (await client.reply()).status == 200


async def test_a_body_that_trickles_in_is_refused_and_the_application_sees_a_disconnect() -> None:
    echo = Echo()
    deadlines = Deadlines(body=0.3, body_rate=500)
    async with served(echo, deadlines=deadlines) as server, connected(server.port) as client:
        await client.send(POST)
        slowly = asyncio.create_task(trickle(client.writer, b"x" * 1000, 0.02))
        reply = await client.reply()
        slowly.cancel()

    assert reply.status == 408
    assert (echo.bodies, echo.disconnects) == ([], 1)


async def test_a_body_that_is_slow_but_steady_arrives() -> None:
    echo = Echo()
    deadlines = Deadlines(body=0.1, body_rate=500)
    async with served(echo, deadlines=deadlines) as server, connected(server.port) as client:
        await client.send(POST.replace(b"1000", b"20000"))
        for _ in range(200):  # 100 bytes each 5 ms at best: forty times the rate, over many windows
            await client.send(b"x" * 100)
            await asyncio.sleep(0.005)
        assert (await client.reply()).status == 200

    assert len(echo.bodies[0]) == 20_000


async def test_a_body_that_started_fast_must_not_stop() -> None:
    # A rate over the whole time would let 1 MB buy half an hour of silence.
    deadlines = Deadlines(body=0.2, body_rate=500)
    async with served(Echo(), deadlines=deadlines) as server, connected(server.port) as client:
        await client.send(POST.replace(b"1000", b"2000000") + b"x" * 1_000_000)
        began = time.monotonic()
        assert (await client.reply()).status == 408

    assert time.monotonic() - began < 3


async def test_the_time_in_which_the_application_does_not_read_is_not_the_clients() -> None:
    go = asyncio.Event()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        body = await read_body(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d" % len(body)})

    size = 30_000_000
    deadlines = Deadlines(body=0.1, body_rate=500)
    async with served(late, deadlines=deadlines) as server, connected(server.port) as client:
        client.writer.write(POST.replace(b"1000", b"%d" % size) + b"x" * size)
        with pytest.raises(TimeoutError):  # many windows long
            async with asyncio.timeout(0.6):
                await client.reader.read()
        go.set()
        assert (await client.reply()).body == b"%d" % size


async def test_a_client_that_reads_nothing_is_dropped() -> None:
    endless = Endless()
    async with served(endless, deadlines=Deadlines(unread=0.4)) as server, unread(server.port, GET):
        await within(endless.asked.wait())
        began = time.monotonic()
        await within(endless.gone.wait())
        await within(server._population.emptied())

    assert 0.3 < time.monotonic() - began < 3
    assert 0 < endless.sent < 1_000_000  # what the buffers of both sides hold, and no more


async def test_a_client_that_reads_slowly_is_not_dropped() -> None:
    endless = Endless()
    async with served(endless, deadlines=Deadlines(unread=0.4)) as server, unread(server.port, GET) as sock:
        await within(endless.asked.wait())
        seen = 0
        for _ in range(15):  # 1.5 s, nearly four times what reading nothing may take
            await asyncio.sleep(0.1)
            seen += len(sock.recv(2048))
        dropped = endless.gone.is_set()

    assert not dropped
    assert seen > 15_000


class JustTooMuch:
    """Writes until a little more is written than the sockets hold: less than makes the transport pause us."""

    def __init__(self) -> None:
        self.population: Population
        self.written = asyncio.Event()
        self.finish = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        (connection,) = self.population.connections
        assert isinstance(connection, HttpConnection)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not connection._transport.get_write_buffer_size():
            await send({"type": "http.response.body", "body": b"x" * 4096, "more_body": True})
        assert not connection.outlet.paused
        self.written.set()
        await self.finish.wait()
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("who", ["the server ends it", "the client ends its half"])
async def test_a_connection_that_ends_does_not_wait_for_ever_for_its_last_bytes_to_be_read(who: str) -> None:
    app = JustTooMuch()
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with served(app, deadlines=Deadlines(unread=0.3)) as server:
        app.population = server._population
        async with unread(server.port, last) as sock:
            await within(app.written.wait())
            if who == "the server ends it":
                app.finish.set()
            else:
                sock.shutdown(socket.SHUT_WR)
            await within(server._population.emptied())
        app.finish.set()


async def test_a_refused_client_that_goes_on_sending_is_cut_off() -> None:
    deadlines = Deadlines(linger=0.5, linger_total=0.6)
    async with served(Echo(), deadlines=deadlines) as server, connected(server.port) as client:
        began = time.monotonic()
        slowly = asyncio.create_task(trickle(client.writer, b"BAD\r\n" * 1000, 0.02))
        assert (await client.reply()).status == 400
        await within(server._population.emptied())
        slowly.cancel()

    assert 0.3 < time.monotonic() - began < 3

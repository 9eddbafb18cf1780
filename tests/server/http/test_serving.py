"""How a server starts, drains and ends, in this process and as a program that gets signals."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aibridge.server.http.asgi import Receive, Scope, Send
from aibridge.server.http.serving import HttpServer
from aibridge.server.http.sockets import CannotListen, bind
from tests.server.http.raw import GET, RawClient, Stream, connected, respond, served, within

pytestmark = pytest.mark.anyio

CHECKOUT = Path(__file__).resolve().parents[3]
STREAM = GET.replace(b"/x", b"/stream")


class Gateway:
    """`/stream` is a stream, everything else is answered at once; with 503 while the server drains."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/stream":
            await self.stream(scope, receive, send)
        else:
            await respond(send, b"", status=503 if self.draining else 200)

    def drain(self) -> None:
        self.draining = True


async def begin_stream(gateway: Gateway, client: RawClient) -> None:
    await client.send(STREAM)
    gateway.stream.chunks.put_nowait(b"begun")
    await client.reply(to_head=True)
    assert await client.chunk() == b"begun"


async def run(server: HttpServer) -> asyncio.Task[str]:
    task: asyncio.Task[str] = asyncio.create_task(server.run())
    await within(server.started.wait())
    return task


async def test_a_drain_answers_503_closes_idle_connections_and_lets_streams_end() -> None:
    gateway = Gateway()
    server = HttpServer(gateway, sockets=bind("127.0.0.1", 0), on_draining=gateway.drain)
    serving = await run(server)
    async with connected(server.port) as streaming, connected(server.port) as idle:
        await idle.send(GET)
        assert (await idle.reply()).status == 200
        await begin_stream(gateway, streaming)

        server.begin_drain()
        assert await idle.rest() == b""
        async with connected(server.port) as probe:
            await probe.send(GET)
            reply = await probe.reply()
            assert await probe.rest() == b""
        assert (reply.status, reply.header("connection")) == (503, "close")

        gateway.stream.chunks.put_nowait(b"goes on")
        assert await streaming.chunk() == b"goes on"
        gateway.stream.chunks.put_nowait(None)
        assert await streaming.chunk() == b""
        assert await streaming.rest() == b""

    assert await within(serving) == "drained"
    with pytest.raises(OSError, match="onnect"):
        await asyncio.open_connection("127.0.0.1", server.port)


async def test_a_server_without_work_drains_at_once() -> None:
    server = HttpServer(Gateway(), sockets=bind("127.0.0.1", 0))
    serving = await run(server)
    began = time.monotonic()
    server.begin_drain()

    assert await within(serving) == "drained"
    assert time.monotonic() - began < 1


async def test_a_request_whose_head_was_arriving_is_answered_in_the_drain() -> None:
    gateway = Gateway()
    async with (
        served(gateway, on_draining=gateway.drain) as server,
        connected(server.port) as other,
        connected(server.port) as client,
    ):
        await begin_stream(gateway, other)
        await client.send(GET[:10])
        async with connected(server.port) as later:  # answered: so the first bytes above were read
            await later.send(GET)
            await later.reply()
        server.begin_drain()
        await client.send(GET[10:])
        assert (await client.reply()).status == 503
        gateway.stream.chunks.put_nowait(None)


async def test_a_request_that_was_sent_but_not_yet_read_is_answered_in_the_drain() -> None:
    gateway = Gateway()
    async with (
        served(gateway, on_draining=gateway.drain) as server,
        connected(server.port) as other,
        connected(server.port) as client,
    ):
        await begin_stream(gateway, other)
        await client.send(GET)
        await client.reply()
        client.writer.write(GET)  # in the kernel's hands, and nothing has run since
        server.begin_drain()
        reply = await client.reply()
        assert (reply.status, reply.header("connection")) == (503, "close")
        assert await client.rest() == b""
        gateway.stream.chunks.put_nowait(None)


async def test_at_the_deadline_the_application_ends_its_streams_in_its_own_words() -> None:
    gateway = Gateway()

    def say_goodbye() -> None:
        gateway.stream.chunks.put_nowait(b"event: error\n\n")
        gateway.stream.chunks.put_nowait(None)

    server = HttpServer(gateway, sockets=bind("127.0.0.1", 0), drain_timeout=0.1, grace=5.0, on_deadline=say_goodbye)
    serving = await run(server)
    async with connected(server.port) as client:
        await begin_stream(gateway, client)
        server.begin_drain()
        assert await client.chunk() == b"event: error\n\n"
        assert await client.chunk() == b""
        assert await client.rest() == b""

    assert await within(serving) == "cut"


async def test_an_exchange_that_ignores_the_deadline_is_cancelled_and_broken_off() -> None:
    gateway = Gateway()
    server = HttpServer(gateway, sockets=bind("127.0.0.1", 0), drain_timeout=0.1, grace=0.1)
    serving = await run(server)
    async with connected(server.port) as client:
        await begin_stream(gateway, client)
        server.begin_drain()
        assert await client.rest() == b""  # no last chunk: nobody takes it for whole

    assert await within(serving) == "cut"


async def test_a_second_wish_to_end_does_not_wait() -> None:
    gateway = Gateway()
    server = HttpServer(gateway, sockets=bind("127.0.0.1", 0), drain_timeout=60)
    serving = await run(server)
    async with connected(server.port) as client:
        await begin_stream(gateway, client)
        server.begin_drain()
        began = time.monotonic()
        server.end_now()
        assert await client.rest() == b""
        assert await within(serving) == "forced"

    assert time.monotonic() - began < 2


async def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    with bind("127.0.0.1", 0)[0] as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen) as refused:
            bind("127.0.0.1", port)

    assert str(refused.value) == f"cannot listen on 127.0.0.1:{port}: Address already in use"
    assert isinstance(refused.value.__cause__, OSError)
    assert refused.value.__cause__.errno == errno.EADDRINUSE


async def test_a_host_that_does_not_exist_is_said_in_one_line() -> None:
    with pytest.raises(CannotListen, match=r"cannot listen on 256\.0\.0\.1:8787: "):
        bind("256.0.0.1", 8787)


async def test_localhost_is_bound_on_one_free_port_for_all_its_addresses() -> None:
    sockets = bind("localhost", 0)
    ports = {sock.getsockname()[1] for sock in sockets}
    for sock in sockets:
        sock.close()

    assert len(ports) == 1


@contextlib.asynccontextmanager
async def program(drain_timeout: float, grace: float) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.server.http.signalled",
        str(drain_timeout),
        str(grace),
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process, int(await line(process))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    data: bytes = await within(process.stdout.readline())
    return data.decode().strip()


async def listening(port: int) -> RawClient:
    """A connection to a program that may just be starting: its socket queues us."""
    return RawClient(*await within(asyncio.open_connection("127.0.0.1", port)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_the_exit_code_is_0(number: signal.Signals) -> None:
    async with program(0.3, 5.0) as (process, port):
        client = await listening(port)
        await client.send(STREAM)
        await client.reply(to_head=True)
        assert await client.chunk() == b"begun"
        process.send_signal(number)
        assert await line(process) == "draining"
        probe = await listening(port)
        await probe.send(GET)
        assert (await probe.reply()).status == 503
        assert await line(process) == "deadline"
        assert await client.chunk() == b"in our own words"
        assert await line(process) == "cut"
        assert await within(process.wait()) == 0
        client.close()
        probe.close()


async def test_a_second_signal_ends_now() -> None:
    async with program(60, 5.0) as (process, port):
        client = await listening(port)
        await client.send(STREAM)
        await client.reply(to_head=True)
        process.send_signal(signal.SIGTERM)
        assert await line(process) == "draining"
        process.send_signal(signal.SIGTERM)
        assert await line(process) == "cancelled"
        assert await line(process) == "forced"
        assert await within(process.wait()) == 0
        client.close()


async def test_a_second_process_on_the_same_socket_never_makes_it_block() -> None:
    # What blocks is shared by all processes; `dup` of a socket that Python takes for blocking would set it.
    with bind("127.0.0.1", 0)[0] as listening:
        HttpServer(Gateway(), sockets=[listening])
        listening.dup().close()

        assert not os.get_blocking(listening.fileno())


async def test_sockets_are_closed_when_a_server_ends() -> None:
    sockets = bind("127.0.0.1", 0)
    server = HttpServer(Gateway(), sockets=sockets)
    serving = await run(server)
    server.begin_drain()
    await within(serving)

    assert [sock.fileno() for sock in sockets] == [-1]
    with socket.create_server(("127.0.0.1", server.port)):  # nobody else holds it either
        pass

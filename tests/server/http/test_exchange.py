"""The ASGI side of one request, without a socket: what is written, and when."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aibridge.reply_writer import WRITE_NOW
from aibridge.server.http.asgi import Application, Headers, Message, Receive, Scope, Send
from aibridge.server.http.exchange import Exchange
from aibridge.server.http.outlet import Outlet
from tests.server.http.raw import respond, within

pytestmark = pytest.mark.anyio


class Lines(asyncio.Transport):
    """A transport that nothing is ever left in."""

    def get_write_buffer_size(self) -> int:
        return 0


class Paper:
    """A connection that keeps what is written on it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.outlet = Outlet(Lines(), 60.0)
        self.last_request = False
        self.default_headers: Headers = []
        self.ended = asyncio.Event()

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def answered(self, exchange: Exchange) -> None:
        self.ended.set()

    def break_off(self, exchange: Exchange) -> None:
        self.ended.set()


@asynccontextmanager
async def answering(app: Application, paper: Paper) -> AsyncIterator[Exchange]:
    scope: Scope = {"type": "http", "method": "POST", "http_version": "1.1"}
    exchange = Exchange(paper, scope, keep_alive=True, awaits_continue=False, most_unread=100)
    running: set[asyncio.Task[None]] = set()
    task = asyncio.create_task(exchange.answer(app, running))
    running.add(task)
    yield exchange
    await within(task)
    assert running == set()


async def test_the_head_leaves_with_the_first_piece_of_the_body_in_one_write() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two", "more_body": False})

    paper = Paper()
    async with answering(app, paper) as exchange:
        exchange.body_ended()

    assert paper.written == [
        b"HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n",
        b"3\r\ntwo\r\n0\r\n\r\n",
    ]


async def test_an_empty_piece_lets_the_head_go_ahead() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    paper = Paper()
    async with answering(app, paper) as exchange:
        exchange.body_ended()

    assert paper.written == [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"0\r\n\r\n"]


async def test_the_body_is_handed_on_once_and_then_only_the_end() -> None:
    heard: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(await receive())
        heard.append(await receive())
        await respond(send, b"")
        heard.append(await receive())

    async with answering(app, Paper()) as exchange:
        exchange.body_came(b"a")
        exchange.body_came(b"b")
        await asyncio.sleep(0)
        exchange.body_ended()

    assert heard == [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ]


async def test_two_tasks_of_an_application_both_hear_of_the_disconnect() -> None:
    heard: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

        async def listen() -> None:
            heard.append((await receive())["type"])

        async with asyncio.TaskGroup() as group:
            group.create_task(listen())
            group.create_task(listen())

    async with answering(app, Paper()) as exchange:
        exchange.body_ended()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        exchange.disconnect()

    assert heard == ["http.disconnect", "http.disconnect"]


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.body", "body": b"x"}],
        [{"type": "http.response.start", "status": 200}, {"type": "http.response.start", "status": 200}],
        [{"type": "websocket.accept"}],
        [],
    ],
)
async def test_an_application_that_breaks_the_protocol_gives_a_500(messages: list[Message]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    paper = Paper()
    async with answering(app, paper) as exchange:
        exchange.body_ended()
        await within(paper.ended.wait())

    assert paper.written[0].startswith(b"HTTP/1.1 500 Internal Server Error\r\n")


async def test_a_body_is_written_at_once_unless_the_client_is_behind_or_gone() -> None:
    paper = Paper()
    said: list[bool] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        write_now = scope["extensions"][WRITE_NOW]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        said.append(write_now(b"one"))
        paper.outlet.paused = True
        said.append(write_now(b"not now"))
        paper.outlet.paused = False
        said.append(write_now(b"two"))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async with answering(app, paper) as exchange:
        exchange.body_ended()

    assert said == [True, False, True]
    assert b"".join(paper.written).endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")

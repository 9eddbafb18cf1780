"""A silent stream is kept alive: between whole events, after the provider has answered, and never beside something else."""

import asyncio
from typing import Any

import pytest

from aibridge.keep_alive import KeepAlive
from aibridge.reply_writer import WRITE_NOW, ReplyWriter
from aibridge.tool_settings import ToolSettings
from aibridge.tools import ToolCall, ToolResult
from tests.exchanges import EXCHANGES, MESSAGES, Exchange, last_event
from tests.fakes.client import Client
from tests.fakes.interceptions import stage
from tests.fakes.journal import Journal
from tests.fakes.toolbox import ScriptedToolbox, result_of
from tests.fakes.turns import Call, Says
from tests.waiting import until

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])

FRAME = b": keep-alive\n\n"
HEAD = (200, [(b"content-type", b"text/event-stream")])
QUICK = 0.001
LOOK = Says(1, "I look it up. ", (Call("call_1"),))
DONE = Says(2, "It rains.")


async def frames_elsewhere(count: int = 5, *, every: float = QUICK) -> None:
    """Returns when as silent a stream has got so many frames: what has not happened by then does not happen."""
    client = Client(Journal())
    async with (alive := KeepAlive(ReplyWriter(client.send), FRAME, every)):
        alive.may_start(*HEAD)
        await client.until(count * len(FRAME))


def frame_of(exchange: Exchange) -> bytes:
    return b'event: ping\ndata: {"type": "ping"}\n\n' if exchange.dialect == "messages" else FRAME


# -- in an interception --------------------------------------------------------------------------------


@every_dialect
async def test_while_a_tool_runs_the_stream_says_that_it_lives(exchange: Exchange) -> None:
    toolbox = ScriptedToolbox()
    scene = stage(exchange, toolbox=toolbox, tools=ToolSettings(keepalive_interval=QUICK))
    scene.streams(LOOK.stream(exchange.dialect))
    scene.streams(DONE.stream(exchange.dialect))

    async def takes_its_time(call: ToolCall) -> ToolResult:
        before = scene.client.body.count(frame_of(exchange))
        await until(lambda: scene.client.body.count(frame_of(exchange)) >= before + 3)
        return result_of(call)

    toolbox.does["search"] = takes_its_time
    await scene.run(stream=True)

    body = scene.client.body
    assert scene.recorder.end.state == "completed"
    assert body.endswith(last_event(DONE.stream(exchange.dialect))) or exchange.dialect == "responses"
    assert body.count(frame_of(exchange)) >= 3
    assert body.replace(frame_of(exchange), b"").count(b"keep-alive") == 0


@every_dialect
async def test_a_provider_that_has_answered_and_is_silent_starts_the_stream_with_a_frame(exchange: Exchange) -> None:
    scene = stage(exchange, toolbox=ScriptedToolbox(), tools=ToolSettings(keepalive_interval=QUICK))
    speaks = asyncio.Event()
    scene.streams(speaks, DONE.stream(exchange.dialect))
    task = scene.begin(stream=True)
    await scene.client.until(len(frame_of(exchange)))
    begun = (scene.client.status, scene.client.header("x-aibridge-interception-id"))
    speaks.set()
    await task

    assert begun == (200, scene.recorder.kept.interceptions[0].id.encode())
    assert scene.client.body.startswith(frame_of(exchange))
    assert scene.recorder.end.state == "completed"


@every_dialect
async def test_what_goes_wrong_after_a_frame_is_said_in_the_stream(exchange: Exchange) -> None:
    scene = stage(exchange, toolbox=ScriptedToolbox(), tools=ToolSettings(keepalive_interval=QUICK))
    scene.streams(asyncio.Event())
    task = scene.begin(stream=True)
    await scene.client.until(1)
    scene.interruption.interrupt("gateway_aborted")
    await task

    assert exchange.is_error(last_event(scene.client.body))
    assert scene.client.ended


async def test_before_the_provider_has_answered_nothing_is_sent() -> None:
    scene = stage(MESSAGES, toolbox=ScriptedToolbox(), tools=ToolSettings(keepalive_interval=QUICK))
    head = asyncio.Event()
    scene.streams(DONE.stream("messages"), before=(head,))
    task = scene.begin(stream=True)
    await frames_elsewhere()

    assert scene.client.status is None
    head.set()
    await task


@pytest.mark.parametrize(
    ("keepalive", "tools", "stream", "kept"),
    [
        ("tools", True, True, True),
        ("tools", False, True, False),
        ("always", False, True, True),
        ("always", True, False, False),
        ("off", True, True, False),
    ],
)
async def test_which_answers_are_kept_alive(keepalive: Any, tools: bool, stream: bool, kept: bool) -> None:
    settings = ToolSettings(keepalive=keepalive, keepalive_interval=QUICK)
    scene = stage(MESSAGES, toolbox=ScriptedToolbox() if tools else None, tools=settings)
    speaks = asyncio.Event()
    if stream:
        scene.streams(MESSAGES.events[0], speaks, *MESSAGES.events[1:])
    else:
        scene.answers(MESSAGES.body[:10], speaks, MESSAGES.body[10:])
    task = scene.begin(stream=stream)
    await until(lambda: ("provider", "sent") in scene.journal.entries)
    if kept:
        await until(lambda: b"event: ping" in scene.client.body)
    await frames_elsewhere()
    before = scene.client.body
    speaks.set()
    await task

    assert (b"event: ping" in before) is kept


# -- by itself -----------------------------------------------------------------------------------------


async def test_no_frame_comes_into_an_event_that_is_not_whole() -> None:
    client = Client(Journal())
    writer = ReplyWriter(client.send)
    async with (alive := KeepAlive(writer, FRAME, QUICK)):
        alive.may_start(*HEAD)
        await writer.start(*HEAD)
        await writer.send(b"data: the beginning of a large")
        await frames_elsewhere()
        torn = client.body
        await writer.send(b" event\r\n\r\n")
        await until(lambda: client.body.endswith(FRAME))
        await writer.end()

    assert torn == b"data: the beginning of a large"
    assert client.body.startswith(b"data: the beginning of a large event\r\n\r\n" + FRAME)


async def test_a_client_that_does_not_read_gets_no_frames_on_top_and_whoever_sends_waits_for_it() -> None:
    client = Client(Journal())
    writer = ReplyWriter(client.send)
    async with (alive := KeepAlive(writer, FRAME, QUICK)):
        alive.may_start(*HEAD)
        await until(lambda: client.body == FRAME)
        client.reads.clear()
        sending = asyncio.get_running_loop().create_task(writer.send(b"data: 1\n\n"))
        await frames_elsewhere()
        assert client.body == FRAME
        client.reads.set()
        await sending
        await writer.end(b"data: 2\n\n")
        await frames_elsewhere()

    assert client.body.replace(FRAME, b"") == b"data: 1\n\ndata: 2\n\n"


async def test_leaving_gives_the_writer_its_own_way_back_and_ends_a_frame_that_nobody_takes() -> None:
    client = Client(Journal())
    writer = ReplyWriter(client.send)
    way = writer.way
    async with (alive := KeepAlive(writer, FRAME, QUICK)):
        alive.may_start(*HEAD)
        client.reads.clear()
        await frames_elsewhere()
    client.reads.set()
    await frames_elsewhere()

    assert writer.way == way
    assert client.body == b""


async def test_a_client_that_has_hung_up_is_left_alone() -> None:
    client = Client(Journal())
    client.fault = OSError()
    writer = ReplyWriter(client.send)
    async with (alive := KeepAlive(writer, FRAME, QUICK)):
        alive.may_start(*HEAD)
        await frames_elsewhere()
        await writer.start(*HEAD)

    assert writer.gone


class Server:
    """Of a server that takes bytes without being awaited."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def send(self, message: Any) -> None:
        self.sent.append(message.get("body", b""))

    def write_now(self, data: bytes) -> bool:
        self.sent.append(data)
        return True


async def test_what_is_sent_without_waiting_counts_as_said() -> None:
    server = Server()
    writer = ReplyWriter(server.send, {WRITE_NOW: server.write_now})
    async with (alive := KeepAlive(writer, FRAME, 60)):
        alive.may_start(*HEAD)
        await writer.start(*HEAD)
        assert writer.writes_now
        assert writer.write_now(b"data: 1\n\n")
        assert writer.write_now(b"data: 2")

        assert alive._last == b"data: 2"
    assert server.sent == [b"", b"data: 1\n\n", b"data: 2"]

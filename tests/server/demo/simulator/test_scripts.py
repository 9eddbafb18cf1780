"""Scripted answers, the ledger, and connections that break: what the tests of a gateway lean on."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from aibridge.server.demo.simulator import ScriptedAnswer, SimulatedProvider, serve_simulator
from tests.server.demo.simulator.conftest import Served

pytestmark = pytest.mark.anyio

BOUND = 5.0  # seconds; everything here takes milliseconds


@asynccontextmanager
async def sent(base_url: str, body: bytes, path: str = "/v1/messages") -> AsyncIterator[asyncio.StreamReader]:
    """A request sent by hand, so that the answer can be read byte by byte; the connection closes at the end."""
    host, _, port = base_url.removeprefix("http://").partition(":")
    async with asyncio.timeout(BOUND):
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer x\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        try:
            yield reader
        finally:
            writer.close()


def message(text: str, *, stream: bool) -> bytes:
    messages = [{"role": "user", "content": text}]
    return msgspec.json.encode({"model": "m", "max_tokens": 9000, "messages": messages, "stream": stream})


async def test_a_script_gives_exact_bytes_to_the_first_request_that_matches(served: Served) -> None:
    served.provider.script(
        ScriptedAnswer(
            status=418,
            headers=[(b"x-odd", b"1"), (b"content-length", b"4")],
            steps=(b"te", b"a\n"),
            matches=lambda incoming: incoming.path.endswith("/odd") and incoming.query == "a=%2F",
            response_id="msg_scripted",
            usage={"input_tokens": 3},
        )
    )
    async with sent(served.base_url, b"{}", "/v1/even") as other:
        assert await other.readline() == b"HTTP/1.1 404 Not Found\r\n"
    async with sent(served.base_url, b"{}", "/v1%2Fx/odd?a=%2F") as reader:
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(4)
    async with sent(served.base_url, b"{}", "/v1%2Fx/odd?a=%2F") as again:
        assert await again.readline() == b"HTTP/1.1 404 Not Found\r\n"

    assert head.startswith(b"HTTP/1.1 418 ")
    assert b"x-odd: 1\r\n" in head
    assert body == b"tea\n"
    exchange = served.provider.ledger[1]
    assert (exchange.path, exchange.query) == ("/v1%2Fx/odd", "a=%2F")
    assert (exchange.status, exchange.response_id, exchange.usage) == (418, "msg_scripted", {"input_tokens": 3})
    assert exchange.completed


async def test_rules_are_used_up_in_their_order_and_a_lasting_one_stays(served: Served) -> None:
    served.provider.script(ScriptedAnswer(status=500, times=2))
    served.provider.script(ScriptedAnswer(status=503, times=None))

    statuses = []
    for _ in range(4):
        async with sent(served.base_url, b"{}") as reader:
            statuses.append(int((await reader.readline()).split()[1]))

    assert statuses == [500, 500, 503, 503]


async def test_a_gate_holds_the_stream_until_it_is_opened(served: Served) -> None:
    gate = asyncio.Event()
    served.provider.script(ScriptedAnswer(steps=(b"data: 1\n\n", gate, b"data: 2\n\n")))
    async with sent(served.base_url, b"{}") as reader:
        before = await reader.readuntil(b"data: 1\n\n")
        assert not served.provider.ledger[0].ended
        gate.set()
        after = await reader.readuntil(b"0\r\n\r\n")

    assert b"text/event-stream" in before
    assert b"data: 2\n\n" in after
    assert served.provider.ledger[0].completed


async def test_a_gate_before_everything_holds_the_head_too_and_an_empty_step_sends_it(served: Served) -> None:
    before_head, after_head = asyncio.Event(), asyncio.Event()
    served.provider.script(ScriptedAnswer(steps=(before_head, b"", after_head, b"late")))
    async with sent(served.base_url, b"{}") as reader:
        await served.provider.until(lambda ledger: len(ledger) == 1)
        assert reader._buffer == b""  # type: ignore[attr-defined]  # looks without waiting for what must not come
        before_head.set()
        head = await reader.readuntil(b"\r\n\r\n")
        after_head.set()
        body = await reader.readuntil(b"0\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"4\r\nlate\r\n0\r\n\r\n"


async def test_a_reset_is_a_reset_and_a_cut_is_an_end_without_an_end(served: Served) -> None:
    served.provider.script(ScriptedAnswer(steps=("reset",)))
    served.provider.script(ScriptedAnswer(steps=(b"data: 1\n\n", "cut")))
    async with sent(served.base_url, b"{}") as reader:
        with pytest.raises(ConnectionResetError):
            await reader.read()
    async with sent(served.base_url, b"{}") as reader:
        received = await reader.read()

    assert received.endswith(b"9\r\ndata: 1\n\n\r\n")
    async with asyncio.timeout(BOUND):
        await served.provider.until(lambda ledger: all(exchange.ended for exchange in ledger))
    assert [exchange.completed for exchange in served.provider.ledger] == [False, False]


async def test_a_cut_that_was_asked_for_comes_in_the_middle_of_an_event(served: Served) -> None:
    async with sent(served.base_url, message("simulate cut", stream=True)) as reader:
        streamed = await reader.read()
    async with sent(served.base_url, message("simulate cut", stream=False)) as reader:
        whole = await reader.read()

    assert b"event: message_start" in streamed
    assert b"message_stop" not in streamed
    assert not streamed.endswith(b"\n\n\r\n")
    head, _, body = whole.partition(b"\r\n\r\n")
    [length] = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")]
    assert 0 < len(body) < length


async def test_every_event_is_a_write_of_its_own(served: Served) -> None:
    async with sent(served.base_url, message("simulate 20 words", stream=True)) as reader:
        await reader.readuntil(b"\r\n\r\n")
        received = await reader.readuntil(b"0\r\n\r\n")

    chunks = []
    while received != b"0\r\n\r\n":
        size, _, rest = received.partition(b"\r\n")
        chunks.append(rest[: int(size, 16)])
        received = rest[int(size, 16) + 2 :]
    assert len(chunks) > 10
    assert all(chunk.count(b"\n\n") == 1 and chunk.endswith(b"\n\n") for chunk in chunks)


async def test_a_client_that_leaves_ends_its_exchange_incomplete(served: Served) -> None:
    never = asyncio.Event()
    served.provider.script(ScriptedAnswer(steps=(b"data: 1\n\n", never, b"data: 2\n\n")))
    async with sent(served.base_url, b"{}") as reader:
        await reader.readuntil(b"data: 1\n\n")

    async with asyncio.timeout(BOUND):
        await served.provider.until(lambda ledger: ledger[0].ended)
    assert not served.provider.ledger[0].completed


async def test_a_pace_lies_between_the_events_of_a_stream() -> None:
    provider = SimulatedProvider(pace=0.01)
    async with serve_simulator(provider) as base_url:
        started = asyncio.get_running_loop().time()
        async with sent(base_url, message("simulate 20 words", stream=True)) as reader:
            received = await reader.readuntil(b"0\r\n\r\n")
        took = asyncio.get_running_loop().time() - started
        async with sent(base_url, message("simulate 20 words", stream=False)) as reader:
            await reader.readuntil(b"word20")

    assert took >= 0.01 * (received.count(b"\n\n") - 1)


async def test_a_stream_at_a_pace_ends_when_its_client_leaves() -> None:
    provider = SimulatedProvider(pace=60.0)
    async with serve_simulator(provider) as base_url:
        async with sent(base_url, message("Hi", stream=True)) as reader:
            await reader.readuntil(b"message_start")
        async with asyncio.timeout(BOUND):
            await provider.until(lambda ledger: ledger[0].ended)

    assert not provider.ledger[0].completed


async def test_the_end_of_serving_is_bounded_also_when_an_answer_never_ends() -> None:
    provider = SimulatedProvider()
    provider.script(ScriptedAnswer(steps=(b"data: 1\n\n", asyncio.Event())))
    async with asyncio.timeout(BOUND):
        async with serve_simulator(provider) as base_url, sent(base_url, b"{}") as reader:
            await reader.readuntil(b"data: 1\n\n")
        [exchange] = provider.ledger

    assert exchange.ended
    assert not exchange.completed


async def test_a_bounded_ledger_lets_go_of_the_oldest_but_never_before_its_end() -> None:
    numbers: list[tuple[int, bool]] = []
    gate = asyncio.Event()
    provider = SimulatedProvider(keep=2, observe=lambda number, line: numbers.append((number, line.ended)))
    provider.script(ScriptedAnswer(steps=(b"", gate), matches=lambda incoming: incoming.path == "/first"))
    async with serve_simulator(provider) as base_url, sent(base_url, b"{}", "/first") as first:
        await first.readuntil(b"\r\n\r\n")
        for number in range(3):
            async with sent(base_url, b"{}", f"/{number}") as reader:
                await reader.readline()
        gate.set()
        await first.readuntil(b"0\r\n\r\n")

    assert [exchange.path for exchange in provider.ledger] == ["/1", "/2"]
    assert [number for number, ended in numbers if ended] == [1, 2, 3, 0]


async def test_it_also_runs_on_a_server_that_cannot_break_connections_off() -> None:
    provider = SimulatedProvider()
    provider.script(ScriptedAnswer(steps=(b"data: 1\n\n", "reset")))
    received: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": b"{}", "more_body": False}]
    kinds: list[object] = []

    async def receive() -> MutableMapping[str, Any]:
        if not received:
            await asyncio.Event().wait()
        return received.pop()

    async def send(message: MutableMapping[str, Any]) -> None:
        kinds.append(message["type"])

    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": []}
    async with asyncio.timeout(BOUND):
        await provider(scope, receive, send)

    assert kinds == ["http.response.start", "http.response.body"]
    assert not provider.ledger[0].completed

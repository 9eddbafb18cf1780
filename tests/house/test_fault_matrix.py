"""What providers and networks do wrong, in every dialect and both modes: what the client gets, what is on record.

The rows are those of DATA_PLANE's table of errors. Every interception ends once, and memory stays bounded.
"""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aibridge.dialects.reply import MAX_WHOLE_BODY
from aibridge.records import State
from aibridge.server.demo.simulator import ScriptedAnswer, SimulatedProvider, serve_simulator
from aibridge.upstream import HttpUpstream
from aibridge.wire.sse import MAX_EVENT
from tests.exchanges import EXCHANGES, Exchange, last_event
from tests.house.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.house.gateway_client import BOUND, Received, sent
from tests.house.in_process import CENTRAL_KEY, InProcess, bridge_before
from tests.upstream.authority import Authority
from tests.upstream.raw_provider import Peer, answering, raw_provider
from tests.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the server runs."""
    return "asyncio", {"use_uvloop": True}


every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])

SHORT = 0.3  # seconds of silence that are a stall here
MIB = 1024 * 1024
JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream")]
HALF = 5  # events; of each dialect's stream, some usage may be known by then


@dataclass(frozen=True)
class Row:
    """What the record must say. `usage`: "final", "partial", or None for nothing."""

    state: State
    status: int | None
    error_type: str | None
    usage: str | None = None


@dataclass
class House:
    gateway: InProcess
    proxy: FaultProxy


@asynccontextmanager
async def house(fault: Fault | None = None, **options: Any) -> AsyncIterator[House]:
    """A client's gateway, a proxy with a fault, and the provider behind it."""
    provider = SimulatedProvider()
    async with serve_simulator(provider) as url, fault_proxy(url) as proxy:
        proxy.fault = fault or Fault()
        async with bridge_before(proxy.url, provider, **options) as gateway:
            yield House(gateway, proxy)


IMPATIENT: dict[str, Any] = {
    "settings": {"first_byte_timeout": SHORT, "blocking_first_byte_timeout": SHORT, "stall_timeout": SHORT}
}


async def ask(gateway: InProcess, exchange: Exchange, *, stream: bool, keep: bool = True) -> Received:
    async with sent(gateway.url, exchange, stream=stream) as waiting:
        received = await waiting.rest(keep=keep)
        await idle(gateway)
        return received


async def idle(gateway: InProcess) -> None:
    await until(lambda: gateway.bridge.in_flight == 0)


def recorded(gateway: InProcess) -> Row:
    """The one interception, which has one end."""
    recorder = gateway.recorder
    [started], [ended] = recorder.interceptions, recorder.ends
    assert ended.interception_id == started.id
    assert len(recorder.prompts) == 1
    assert len(recorder.token_usages) <= 1
    assert CENTRAL_KEY not in repr(recorder.records)
    usages = ["partial" if used.partial else "final" for used in recorder.token_usages]
    return Row(ended.state, ended.http_status, ended.error_type, usages[0] if usages else None)


def script(gateway: InProcess, *steps: Any, status: int = 200, stream: bool = True) -> None:
    gateway.provider.script(ScriptedAnswer(status=status, headers=EVENTS if stream else JSON, steps=steps))


def known_after(exchange: Exchange, count: int) -> str | None:
    usage = exchange.usage[count]
    return None if usage is None else "partial" if usage.partial else "final"


def assert_error(exchange: Exchange, received: Received, status: int) -> None:
    """An answer of ours in the dialect's shape."""
    assert (received.status, received.whole) == (status, True)
    assert received.header("content-type") == "application/json"
    assert received.header("x-aibridge-interception-id")
    error = json.loads(bytes(received.body))["error"]
    assert {"type", "message"} <= set(error)


def assert_error_event(exchange: Exchange, received: Received, count: int) -> None:
    """The first `count` events as they came (but for those that are kept back), and an error that ends the stream."""
    assert (received.status, received.whole) == (200, True)
    body = bytes(received.body)
    seen = b"".join(exchange.events[: exchange.visible[count]])
    assert body.startswith(seen)
    last = last_event(body)
    assert b"".join(exchange.events[:count]).startswith(body.removesuffix(last))
    assert exchange.is_error(last), last


def half_of(exchange: Exchange, *, stream: bool) -> bytes:
    return b"".join(exchange.events[:HALF]) if stream else exchange.body[: len(exchange.body) // 2]


# -- stall ----------------------------------------------------------------------------------------------


@every_dialect
@both_modes
async def test_a_provider_that_never_answers(exchange: Exchange, stream: bool) -> None:
    async with house(Fault(ending="blackhole"), **IMPATIENT) as at:
        received = await ask(at.gateway, exchange, stream=stream)

        assert_error(exchange, received, 504)
        assert recorded(at.gateway) == Row("upstream_stalled", 504, "timeout")


@every_dialect
@both_modes
async def test_a_provider_that_stops_in_the_middle(exchange: Exchange, stream: bool) -> None:
    async with house(**IMPATIENT) as at:
        script(at.gateway, half_of(exchange, stream=stream), asyncio.Event(), stream=stream)
        received = await ask(at.gateway, exchange, stream=stream)

        if stream:
            assert_error_event(exchange, received, HALF)
            assert recorded(at.gateway) == Row("upstream_stalled", 200, "timeout", known_after(exchange, HALF))
        else:
            assert_error(exchange, received, 504)
            assert recorded(at.gateway) == Row("upstream_stalled", 504, "timeout")
        async with asyncio.timeout(1):
            await at.gateway.provider.until(lambda ledger: ledger[0].ended)


# -- reset and half-close -------------------------------------------------------------------------------


@every_dialect
@both_modes
@pytest.mark.parametrize("ending", ["reset", "half-close"])
async def test_a_connection_that_ends_before_the_answer(exchange: Exchange, stream: bool, ending: Any) -> None:
    for after in (0, 30):
        async with house(Fault(after=after, ending=ending)) as at:
            received = await ask(at.gateway, exchange, stream=stream)

            assert_error(exchange, received, 502)
            assert recorded(at.gateway) == Row("upstream_error", 502, "connection_error")


@every_dialect
@both_modes
@pytest.mark.parametrize("ending", ["reset", "half-close"])
async def test_a_connection_that_ends_in_the_middle(exchange: Exchange, stream: bool, ending: Any) -> None:
    read = asyncio.Event()
    head = 200  # bytes, about: enough for the head and the beginning of the body
    async with house() as at:
        script(at.gateway, half_of(exchange, stream=stream), read, b"x" * 1000, stream=stream)
        at.proxy.fault = Fault(after=head + len(half_of(exchange, stream=stream)), ending=ending)
        async with sent(at.gateway.url, exchange, stream=stream) as waiting:
            begun = await waiting.until(1) if stream else b""
            read.set()
            received = await waiting.rest()
            await idle(at.gateway)

        row = recorded(at.gateway)
        if stream:
            body = begun + bytes(received.body)
            assert exchange.is_error(last_event(body))
            assert received.whole
            assert (row.state, row.status, row.error_type) == ("upstream_error", 200, "connection_error")
            assert row.usage in (None, "partial")
        else:
            assert_error(exchange, received, 502)
            assert row == Row("upstream_error", 502, "connection_error")


# -- garbage, half an event, a stream that just ends ----------------------------------------------------


@every_dialect
@both_modes
async def test_what_is_no_http(exchange: Exchange, stream: bool) -> None:
    garbage = answering(b"\x16\x03\x01 this is no HTTP\r\n\r\n", ends=True)
    async with raw_provider(garbage) as raw, bridge_before(raw.url, SimulatedProvider()) as gateway:
        received = await ask(gateway, exchange, stream=stream)

        assert_error(exchange, received, 502)
        assert recorded(gateway) == Row("upstream_error", 502, "connection_error")


@every_dialect
async def test_garbage_in_a_stream_is_relayed_unchanged(exchange: Exchange) -> None:
    garbage = b"data: {not json\n\n" + b"\xff\xfe\n\n" + b"event: unheard-of\ndata: []\n\n"
    steps = [*exchange.events[:2], garbage, *exchange.events[2:]]
    async with house() as at:
        script(at.gateway, *steps)
        received = await ask(at.gateway, exchange, stream=True)

        assert bytes(received.body) == b"".join(steps)
        assert recorded(at.gateway) == Row("completed", 200, None, "final")


@every_dialect
async def test_garbage_for_a_body_is_relayed_unchanged(exchange: Exchange) -> None:
    async with house() as at:
        script(at.gateway, b"\xff\xfe no JSON", stream=False)
        received = await ask(at.gateway, exchange, stream=False)

        assert (received.status, bytes(received.body)) == (200, b"\xff\xfe no JSON")
        assert recorded(at.gateway) == Row("completed", 200, None)


@every_dialect
async def test_half_an_event_and_the_end_of_the_body(exchange: Exchange) -> None:
    for count in range(1, len(exchange.events)):
        async with house() as at:
            event = exchange.events[count]
            script(at.gateway, *exchange.events[:count], event[: len(event) // 2])
            received = await ask(at.gateway, exchange, stream=True)

            assert_error_event(exchange, received, count)
            row = recorded(at.gateway)
            assert (row.state, row.status, row.error_type) == ("upstream_error", 200, "connection_error")
            assert (row.usage is None) == (exchange.usage[count] is None)


@every_dialect
async def test_half_a_body_and_its_proper_end(exchange: Exchange) -> None:
    """The framing is right, so nobody can tell: it is what the provider said."""
    async with house() as at:
        script(at.gateway, half_of(exchange, stream=False), stream=False)
        received = await ask(at.gateway, exchange, stream=False)

        assert (received.status, bytes(received.body)) == (200, half_of(exchange, stream=False))
        assert recorded(at.gateway) == Row("completed", 200, None)


# -- large and small ------------------------------------------------------------------------------------


def fifty_megabytes(before: bytes, after: bytes) -> Iterator[bytes]:
    yield before
    for _ in range(50 * MIB // 65_536):
        yield b"x" * 65_536
    yield after


@every_dialect
@both_modes
async def test_fifty_megabytes_in_one_piece_pass_in_bounded_memory(exchange: Exchange, stream: bool) -> None:
    if stream:
        steps: list[Iterator[bytes]] = [
            iter(exchange.events[:2]),
            fifty_megabytes(b'data: {"type": "odd", "odd": "', b'"}\n\n'),
            iter(exchange.events[2:]),
        ]
    else:
        steps = [fifty_megabytes(exchange.body[:-1] + b', "odd": "', b'"}')]
    async with house() as at:
        answer = (piece for part in steps for piece in part)
        at.gateway.provider.script(ScriptedAnswer(headers=EVENTS if stream else JSON, steps=answer))
        tracemalloc.start()
        try:
            received = await ask(at.gateway, exchange, stream=stream, keep=False)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert (received.status, received.whole) == (200, True)
        if stream:
            assert received.body.startswith(exchange.events[0])
            assert received.body.endswith(b"".join(exchange.events[2:]))
            assert recorded(at.gateway) == Row("completed", 200, None, "final")
            assert peak < 6 * MAX_EVENT  # where it is held, on its way to the client, and as it is sent
        else:
            assert received.body.startswith(exchange.body[:-1])
            assert received.body.endswith(b'x"}')
            assert recorded(at.gateway) == Row("completed", 200, None)
            assert peak < 4 * MAX_WHOLE_BODY


@every_dialect
@both_modes
async def test_an_answer_that_comes_byte_by_byte(exchange: Exchange, stream: bool) -> None:
    whole = exchange.stream if stream else exchange.body
    async with house(Fault(slices=1)) as at:
        script(at.gateway, *(whole[i : i + 1] for i in range(len(whole))), stream=stream)
        received = await ask(at.gateway, exchange, stream=stream)

        assert (received.status, bytes(received.body), received.whole) == (200, whole, True)
        assert recorded(at.gateway) == Row("completed", 200, None, "final")


@every_dialect
@both_modes
async def test_an_answer_that_comes_late_in_every_part(exchange: Exchange, stream: bool) -> None:
    whole = exchange.stream if stream else exchange.body
    async with house(Fault(latency=0.01, slices=512)) as at:
        script(at.gateway, whole, stream=stream)
        received = await ask(at.gateway, exchange, stream=stream)

        assert bytes(received.body) == whole
        assert recorded(at.gateway) == Row("completed", 200, None, "final")


# -- what the provider says itself ----------------------------------------------------------------------


@every_dialect
@both_modes
@pytest.mark.parametrize("status", [400, 404, 429, 500, 503, 529])
async def test_an_error_of_the_provider(exchange: Exchange, stream: bool, status: int) -> None:
    error = b'{"error": {"type": "some_error", "message": "no"}}'
    async with house() as at:
        script(at.gateway, error[:7], error[7:], status=status, stream=False)
        received = await ask(at.gateway, exchange, stream=stream)

        assert (received.status, bytes(received.body)) == (status, error)
        assert recorded(at.gateway) == Row("upstream_error", status, "some_error")


@every_dialect
@both_modes
@pytest.mark.parametrize("status", [401, 403])
async def test_a_provider_that_refuses_the_central_key(exchange: Exchange, stream: bool, status: int) -> None:
    error = b'{"error": {"type": "some_error", "message": "' + CENTRAL_KEY.encode() + b'"}}'
    async with house() as at:
        script(at.gateway, error, status=status, stream=False)
        received = await ask(at.gateway, exchange, stream=stream)

        assert_error(exchange, received, 502)
        assert CENTRAL_KEY.encode() not in received.body
        assert recorded(at.gateway) == Row("upstream_error", 502, "some_error")


@every_dialect
async def test_an_error_event_in_a_stream(exchange: Exchange) -> None:
    async with house() as at:
        script(at.gateway, *exchange.events[:HALF], exchange.error)
        received = await ask(at.gateway, exchange, stream=True)

        assert bytes(received.body) == b"".join(exchange.events[:HALF]) + exchange.error
        assert received.whole
        row = recorded(at.gateway)
        assert (row.state, row.status, row.usage) == ("upstream_error", 200, known_after(exchange, HALF))


@every_dialect
async def test_an_error_for_a_body(exchange: Exchange) -> None:
    """Under status 200, as some aggregators answer."""
    value: dict[str, Any] = {"type": "overloaded_error", "message": "no", "code": "overloaded_error"}
    failed: dict[str, Any] = {
        "messages": {"type": "error", "error": value},
        "chat_completions": {"error": value},
        "responses": {**json.loads(exchange.body), "status": "failed", "error": value},
    }
    body = json.dumps(failed[exchange.dialect]).encode()
    async with house() as at:
        script(at.gateway, body, stream=False)
        received = await ask(at.gateway, exchange, stream=False)

        assert (received.status, bytes(received.body)) == (200, body)
        row = recorded(at.gateway)
        assert (row.state, row.status, row.error_type) == ("upstream_error", 200, "overloaded_error")


@every_dialect
@both_modes
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect(exchange: Exchange, stream: bool, status: int) -> None:
    async with house() as at:
        elsewhere = [(b"location", at.gateway.url.encode() + b"/elsewhere"), *JSON]
        at.gateway.provider.script(ScriptedAnswer(status=status, headers=elsewhere, steps=(b"{}",)))
        received = await ask(at.gateway, exchange, stream=stream)

        assert_error(exchange, received, 502)
        assert received.header("location") is None
        assert recorded(at.gateway) == Row("upstream_error", 502, "connection_error")
        assert len(at.gateway.provider.ledger) == 1


# -- TLS ------------------------------------------------------------------------------------------------


@every_dialect
@both_modes
async def test_a_provider_that_cannot_prove_who_it_is(exchange: Exchange, stream: bool, tmp_path: Path) -> None:
    trusted, stranger = Authority(tmp_path), Authority(tmp_path, "a stranger")
    for tls in (stranger.server("127.0.0.1"), trusted.server("provider.test"), None):

        async def play(peer: Peer) -> None:
            await peer.gone()

        async with raw_provider(play, tls=tls) as raw:
            upstream = HttpUpstream(ssl_context=trusted.trusted())
            url = raw.url.replace("http://", "https://")
            settings = {"connect_timeout": SHORT}
            async with bridge_before(url, SimulatedProvider(), upstream=upstream, settings=settings) as gateway:
                received = await ask(gateway, exchange, stream=stream)

                assert_error(exchange, received, 502)
                assert recorded(gateway) == Row("upstream_error", 502, "connection_error")
                assert all(peer.heads == [] for peer in raw.peers)


# -- the client -----------------------------------------------------------------------------------------


@every_dialect
@pytest.mark.parametrize("on_disconnect", ["cancel", "drain"])
async def test_a_client_that_hangs_up_after_any_event(exchange: Exchange, on_disconnect: Any) -> None:
    for count in range(len(exchange.events)):
        goes_on = asyncio.Event()
        async with house(on_disconnect=on_disconnect) as at:
            gateway = at.gateway
            script(gateway, b"", *exchange.events[:count], goes_on, *exchange.events[count:])
            async with sent(gateway.url, exchange, stream=True) as waiting:
                seen = b"".join(exchange.events[: exchange.visible[count]])
                if seen:
                    assert await waiting.until(len(seen)) == seen
                else:
                    async with asyncio.timeout(BOUND):
                        await gateway.provider.until(lambda ledger: bool(ledger and ledger[0].status))
            if on_disconnect == "drain":
                goes_on.set()
            async with asyncio.timeout(1):
                await gateway.provider.until(lambda ledger: ledger[0].ended)
            await idle(gateway)

            row = recorded(gateway)
            assert (row.state, row.error_type) == ("client_gone", "client_gone" if on_disconnect == "cancel" else None)
            assert gateway.provider.ledger[0].completed == (on_disconnect == "drain")
            if on_disconnect == "drain":
                assert row.usage == "final"
            else:
                # Kept back events may not have been read when the client left.
                assert row.usage in {known_after(exchange, exchange.visible[count]), known_after(exchange, count)}


async def test_a_client_that_hangs_up_after_the_last_event_has_had_it_all() -> None:
    for exchange in EXCHANGES:
        async with house() as at:
            script(at.gateway, *exchange.events)
            async with sent(at.gateway.url, exchange, stream=True) as waiting:
                assert await waiting.until(len(exchange.stream)) == exchange.stream
            await idle(at.gateway)

            assert recorded(at.gateway) == Row("completed", 200, None, "final")

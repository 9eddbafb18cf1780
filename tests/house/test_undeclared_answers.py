"""Answers in another form than was asked for, or whose type says nothing: each is relayed and recorded as what it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from aibridge.server.demo.simulator import SimulatedProvider
from tests.exchanges import CHAT, EXCHANGES, Exchange
from tests.house.in_process import ADA, InProcess, bridge_before
from tests.server.http.raw import Reply, connected
from tests.upstream.raw_provider import Peer, RawProvider, raw_provider

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
SILENT = {"no type": b"", "text/plain": b"content-type: text/plain; charset=utf-8\r\n"}
every_silence = pytest.mark.parametrize("kind", SILENT.values(), ids=SILENT.keys())
EVENT_STREAM, JSON = b"content-type: text/event-stream\r\n", b"content-type: application/json\r\n"


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the server runs."""
    return "asyncio", {"use_uvloop": True}


@asynccontextmanager
async def gateway_before(kind: bytes, *pieces: bytes) -> AsyncIterator[tuple[InProcess, RawProvider]]:
    """A provider that answers whatever it is asked with these pieces, under a head with this line."""

    async def play(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n", *pieces)

    async with raw_provider(play) as provider, bridge_before(provider.url, SimulatedProvider()) as house:
        yield house, provider


async def asked(house: InProcess, exchange: Exchange, stream: str, options: str = "") -> Reply:
    """`stream` is the value as the client spells it, `options` that of `stream_options`."""
    members = {name: json.dumps(value) for name, value in exchange.request.items()}
    members |= {"stream": stream} | ({"stream_options": options} if options else {})
    body = ("{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}").encode()
    port = urlsplit(house.url).port
    assert port is not None
    async with connected(port) as client:
        head = f"POST /{exchange.provider}{exchange.path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {ADA}\r\n"
        await client.send(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        return await client.reply()


def assert_recorded(house: InProcess, exchange: Exchange) -> None:
    [end] = house.recorder.ends
    [used] = house.recorder.token_usages
    assert (end.state, end.http_status) == ("completed", 200)
    assert (used.output_tokens, used.partial) == (exchange.final.output, False)


def whole(body: bytes) -> list[tuple[bytes, ...]]:
    return [(body,), (b"\n", b" \r\n", body), (body[:1], body[1:])]


# -- the type says nothing ------------------------------------------------------------------------------


@every_dialect
@every_silence
async def test_a_whole_answer_is_one_although_a_stream_was_asked_for(exchange: Exchange, kind: bytes) -> None:
    for pieces in whole(exchange.body):
        async with gateway_before(kind, *pieces) as (house, _):
            reply = await asked(house, exchange, "true")

        assert (reply.status, reply.body) == (200, b"".join(pieces))
        assert_recorded(house, exchange)


@every_dialect
@every_silence
@pytest.mark.parametrize("stream", ["true", "false", "1"])
async def test_a_stream_is_one_whatever_was_asked_for(exchange: Exchange, kind: bytes, stream: str) -> None:
    for pieces in (
        (exchange.stream,),
        (b"\n\n", exchange.stream[:3], exchange.stream[3:]),
        (b": hello\n\n", exchange.stream),
        (b"\xef\xbb", b"\xbf", exchange.stream),
    ):
        async with gateway_before(kind, *pieces) as (house, _):
            reply = await asked(house, exchange, stream)

        assert reply.status == 200
        assert reply.body.endswith(exchange.events[-1])
        assert_recorded(house, exchange)


@every_dialect
async def test_an_empty_answer_is_no_stream_that_ended(exchange: Exchange) -> None:
    async with gateway_before(b"content-length: 0\r\n") as (house, _):
        reply = await asked(house, exchange, "true")

    assert reply.status == 502
    [end] = house.recorder.ends
    assert end.state == "upstream_error"


# -- `stream` is no boolean -----------------------------------------------------------------------------


@every_dialect
@pytest.mark.parametrize("stream", ["1", "1.0", '"true"', "0", '"false"', "null", "[]"])
async def test_what_comes_is_read_by_its_type_however_a_stream_was_asked_for(exchange: Exchange, stream: str) -> None:
    for kind, body in ((EVENT_STREAM, exchange.stream), (JSON, exchange.body)):
        async with gateway_before(kind, body) as (house, provider):
            reply = await asked(house, exchange, stream)

        assert (reply.status, reply.body) == (200, body)
        assert_recorded(house, exchange)
        assert b'"stream":%b' % stream.encode() in provider.peers[0].bodies[0]


@pytest.mark.parametrize("stream", ["true", "1", "1.0", '"True"', '"on"'])
@pytest.mark.parametrize("usage", ["0", "false", "null", '"false"', "0.0", "[]"])
async def test_usage_is_asked_for_and_hidden_where_the_client_does_not_want_it(stream: str, usage: str) -> None:
    async with gateway_before(EVENT_STREAM, CHAT.stream) as (house, provider):
        reply = await asked(house, CHAT, stream, f'{{"include_usage":{usage}}}')

    assert b'"include_usage":true' in provider.peers[0].bodies[0]
    assert b"usage" not in reply.body
    assert_recorded(house, CHAT)


@pytest.mark.parametrize("usage", ["1", '"yes"', "1.0"])
async def test_usage_that_the_client_asks_for_in_its_own_way_is_not_hidden(usage: str) -> None:
    async with gateway_before(EVENT_STREAM, CHAT.stream) as (house, provider):
        reply = await asked(house, CHAT, "true", f'{{"include_usage":{usage}}}')

    assert b'"include_usage":true' in provider.peers[0].bodies[0]
    assert reply.body == CHAT.stream


@pytest.mark.parametrize("stream", ["false", "0", "0.0", '""', '"False"', "null", "[]"])
async def test_no_usage_is_asked_for_where_no_stream_is(stream: str) -> None:
    async with gateway_before(JSON, CHAT.body) as (house, provider):
        await asked(house, CHAT, stream, '{"include_usage":0}')

    assert b'"stream_options":{"include_usage":0}' in provider.peers[0].bodies[0]

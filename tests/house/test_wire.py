"""Requests and answers in bytes, through our server, the bridge and our client: what SDKs never send, and never show."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from aibridge.server.demo.simulator import ScriptedAnswer
from tests.exchanges import CHAT, MESSAGES, RESPONSES
from tests.house.in_process import ADA, BOB, CENTRAL_KEY, InProcess, in_process
from tests.server.http.raw import RawClient, Reply, connected

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the server runs."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
async def house() -> AsyncIterator[InProcess]:
    async with in_process() as house:
        yield house


@pytest.fixture
async def client(house: InProcess) -> AsyncIterator[RawClient]:
    port = urlsplit(house.url).port
    assert port is not None
    async with connected(port) as client:
        yield client


def request(line: str, *headers: bytes, body: bytes = b"", key: str = ADA) -> bytes:
    lines = [f"{line} HTTP/1.1".encode(), b"host: gateway", f"authorization: Bearer {key}".encode(), *headers]
    if body:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


async def ask(client: RawClient, line: str, *headers: bytes, body: bytes = b"", key: str = ADA) -> Reply:
    await client.send(request(line, *headers, body=body, key=key))
    return await client.reply()


POST = "POST /anthropic/v1/messages"


async def test_header_bytes_that_are_no_utf_8_pass_in_both_directions(house: InProcess, client: RawClient) -> None:
    headers = [(b"content-type", b"application/json"), (b"x-odd-answer", b"caf\xe9 \xff")]
    house.provider.script(ScriptedAnswer(headers=headers, steps=(MESSAGES.body,)))
    reply = await ask(
        client, POST, b"x-odd: \xfe\xe9", b"anthropic-beta: a", b"anthropic-beta: b", body=b'{"model":"m"}'
    )

    assert reply.header("x-odd-answer") == "café ÿ"
    [exchange] = house.provider.ledger
    assert (b"x-odd", b"\xfe\xe9") in exchange.headers
    assert [value for name, value in exchange.headers if name == b"anthropic-beta"] == [b"a", b"b"]


async def test_a_head_request_is_answered_without_a_body_and_the_connection_goes_on(
    house: InProcess, client: RawClient
) -> None:
    whole = await ask(client, "GET /openai/v1/models")
    await client.send(request("HEAD /openai/v1/models"))
    head = await client.reply(to_head=True)
    await client.send(request("HEAD /"))
    probe = await client.reply(to_head=True)
    after = await ask(client, "GET /openai/v1/models")

    assert (head.status, head.header("content-length")) == (200, str(len(whole.body)))
    assert probe.status == 200
    assert after.body == whole.body
    assert [exchange.method for exchange in house.provider.ledger] == ["GET", "HEAD", "GET"]


async def test_requests_that_come_all_at_once_are_answered_in_their_order(house: InProcess, client: RawClient) -> None:
    bodies = [json.dumps({"model": f"m-{number}", "max_tokens": 9, "messages": []}).encode() for number in range(5)]
    await client.send(b"".join(request(POST, b"anthropic-version: 2023-06-01", body=body) for body in bodies))
    replies = [await client.reply() for _ in bodies]

    assert [json.loads(reply.body)["model"] for reply in replies] == [f"m-{number}" for number in range(5)]
    assert [ended.state for ended in house.recorder.ends] == ["completed"] * 5


async def test_a_body_may_be_chunked_and_announced(house: InProcess, client: RawClient) -> None:
    house.provider.script(ScriptedAnswer(steps=(MESSAGES.body,), headers=[(b"content-type", b"application/json")]))
    await client.send(request(POST, b"transfer-encoding: chunked", b"expect: 100-continue"))
    assert (await client.reply(to_head=True)).status == 100
    await client.send(b'8\r\n{"model"\r\n5\r\n:"m"}\r\n0\r\n\r\n')
    reply = await client.reply()

    assert reply.body == MESSAGES.body
    [exchange] = house.provider.ledger
    assert exchange.body == b'{"model":"m","metadata":{"user_id":"ada"}}'
    assert exchange.header("content-length") == str(len(exchange.body))
    assert exchange.header("transfer-encoding") is None
    assert exchange.header("expect") is None


@pytest.mark.parametrize("coding", ["zstd", "gzip"])
async def test_a_compressed_body_is_understood_as_codex_sends_it(
    house: InProcess, client: RawClient, coding: str
) -> None:
    body = json.dumps({**RESPONSES.request, "stream": True}).encode()
    packed = zstd.compress(body) if coding == "zstd" else gzip.compress(body)
    await client.send(request("POST /openai/v1/responses", f"content-encoding: {coding}".encode(), body=packed))
    reply = await client.reply()

    assert reply.status == 200
    [exchange] = house.provider.ledger
    assert exchange.header("content-encoding") is None
    assert json.loads(exchange.body) == {**json.loads(body), "safety_identifier": "ada"}


async def test_an_answer_that_the_provider_compresses_is_read_and_arrives_plain(
    house: InProcess, client: RawClient
) -> None:
    for exchange in (MESSAGES, CHAT, RESPONSES):
        headers = [(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")]
        packed = gzip.compress(exchange.stream)
        house.provider.script(ScriptedAnswer(headers=headers, steps=(packed[:50], packed[50:])))
        path = f"POST /{exchange.provider}{exchange.path}"
        reply = await ask(client, path, b"accept-encoding: gzip", body=exchange.asked(stream=True))

        assert reply.body == exchange.stream
        assert reply.header("content-encoding") is None
    assert [used.output_tokens for used in house.recorder.token_usages] == [42, 42, 42]
    assert all(one.header("accept-encoding") == "identity" for one in house.provider.ledger)


async def test_a_secret_in_a_compressed_error_is_taken_out_all_the_same(house: InProcess, client: RawClient) -> None:
    body = gzip.compress(b'{"error": {"message": "' + CENTRAL_KEY.encode() + b'"}}')
    headers = [(b"content-type", b"application/json"), (b"content-encoding", b"gzip")]
    for line, content in ((POST, b'{"model":"m"}'), ("GET /anthropic/v1/models", b"")):
        house.provider.script(ScriptedAnswer(status=500, headers=headers, steps=(body,)))
        reply = await ask(client, line, body=content)

        assert (reply.status, reply.body) == (500, b'{"error": {"message": "[redacted]"}}')
        assert reply.header("content-encoding") is None


@pytest.mark.parametrize(
    ("path", "status"), [("/openai/v1/responses", 426), ("/copilot/responses", 426), ("/anthropic/v1/messages", 501)]
)
async def test_a_web_socket_is_refused_so_that_clients_fall_back(
    house: InProcess, client: RawClient, path: str, status: int
) -> None:
    upgrade = (b"upgrade: websocket", b"connection: Upgrade", b"sec-websocket-version: 13", b"sec-websocket-key: eA==")
    reply = await ask(client, f"GET {path}", *upgrade)

    assert reply.status == status
    assert "message" in json.loads(reply.body)["error"]
    assert house.provider.ledger == []


async def test_what_one_person_stored_another_does_not_find(house: InProcess, client: RawClient) -> None:
    stored = await ask(client, "POST /openai/v1/responses", body=b'{"model":"m","input":"Hi"}')
    stored_id = json.loads(stored.body)["id"]
    asked = len(house.provider.ledger)
    for line, body in (
        (f"GET /openai/v1/responses/{stored_id}", b""),
        (f"DELETE /openai/v1/responses/{stored_id}", b""),
        ("POST /openai/v1/responses", b'{"model":"m","input":"Hi","previous_response_id":"%b"}' % stored_id.encode()),
        ("POST /openai/v1/responses/input_tokens", b'{"model":"m","previous_response_id":"%b"}' % stored_id.encode()),
    ):
        reply = await ask(client, line, body=body, key=BOB)
        assert reply.status == 404
    assert len(house.provider.ledger) == asked
    assert (await ask(client, f"GET /openai/v1/responses/{stored_id}")).status == 200


async def test_a_gateway_key_in_either_header_never_reaches_the_provider(house: InProcess, client: RawClient) -> None:
    for header in (b"x-api-key: " + ADA.encode(), b"x-api-key: something"):
        await ask(client, POST, header, b"anthropic-version: 1", body=b'{"model":"m","max_tokens":1,"messages":[]}')
    await ask(client, "GET /anthropic/v1/models", b"x-api-key: " + ADA.encode())

    assert len(house.provider.ledger) == 3
    assert all(ADA not in repr(exchange.headers) for exchange in house.provider.ledger)


async def test_a_stream_is_handed_on_event_by_event(house: InProcess, client: RawClient) -> None:
    gates = [asyncio.Event() for _ in MESSAGES.events]
    steps = [step for gate, event in zip(gates, MESSAGES.events, strict=True) for step in (event, gate)]
    house.provider.script(ScriptedAnswer(steps=steps[:-1]))
    await client.send(request(POST, body=MESSAGES.asked(stream=True)))
    reply = await client.reply(to_head=True)
    assert reply.header("content-type") == "text/event-stream; charset=utf-8"
    for gate, event in zip(gates[:-1], MESSAGES.events[:-1], strict=True):
        assert await client.chunk() == event
        gate.set()
    assert await client.chunk() == MESSAGES.events[-1]
    assert await client.chunk() == b""

"""The bounds of the bridge, and what it says to whoever gets no further."""

import gzip
import json
import sys
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from aibridge import providers
from aibridge.errors import Problem, Refused
from aibridge.ports import Identity
from tests.exchanges import CHAT, EXCHANGES, MESSAGES, RESPONSES, Exchange
from tests.fakes.asgi import asked, call, scope_of
from tests.fakes.house import opened, path_of, problem
from tests.fakes.interceptions import KEY

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])


# -- bounds ---------------------------------------------------------------------------------------------


async def test_only_so_many_requests_run_at_once() -> None:
    async with opened(max_concurrency=2) as house:
        calls = []
        for _ in range(2):
            house.holds(MESSAGES, 2)
            calls.append(call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=True)))
            await calls[-1].client.until(1)
        refused = await asked(house.bridge, path_of(CHAT), CHAT.asked(stream=True))
        assert (refused.status, refused.header("retry-after")) == (503, b"1")
        assert (await asked(house.bridge, "/", method="HEAD")).status == 200
        calls[0].hang_up()
        await calls[0].done()
        house.answers(CHAT)
        assert (await asked(house.bridge, path_of(CHAT), CHAT.asked(stream=False))).status == 200


@every_dialect
@pytest.mark.parametrize("told", [True, False], ids=["with its length", "without"])
async def test_a_body_beyond_the_limit_is_refused(exchange: Exchange, told: bool) -> None:
    body = exchange.asked(stream=False)
    async with opened(max_body=len(body)) as house:
        house.answers(exchange)
        assert (await asked(house.bridge, path_of(exchange), body)).status == 200
        attempts = len(house.recorder.attempts)
        headers = [(b"content-length", str(len(body) + 1).encode())] if told else []
        scope = scope_of(path_of(exchange), headers=headers)
        refused = call(house.bridge, scope, *([] if told else [body, b" "]), whole=not told)
        client = await refused.done()

        assert client.status == 413
        assert str(len(body)) in problem(client)
        assert len(house.recorder.attempts) == attempts


async def test_a_length_of_thousands_of_digits_is_too_large() -> None:
    async with opened() as house:
        headers = [(b"content-length", b"9" * 5000)]
        assert (await asked(house.bridge, path_of(MESSAGES), headers=headers)).status == 413


async def test_a_body_beyond_the_limit_is_not_read_any_further() -> None:
    async with opened(max_body=100) as house:
        uploading = call(house.bridge, scope_of(path_of(MESSAGES)), *[b"x" * 60] * 5, whole=False)
        assert (await uploading.done()).status == 413
        assert uploading.more.qsize() == 3


async def test_a_body_may_come_in_any_pieces() -> None:
    body = MESSAGES.asked(stream=False)
    async with opened() as house:
        house.answers(MESSAGES)
        pieces = [body[i : i + 1] for i in range(len(body))]
        client = await call(house.bridge, scope_of(path_of(MESSAGES)), *pieces, b"").done()

        assert client.body == MESSAGES.body


ENCODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress}


@every_dialect
@pytest.mark.parametrize("coding", ENCODERS)
async def test_a_compressed_body_is_read_and_goes_on_without_its_coding(exchange: Exchange, coding: str) -> None:
    async with opened() as house:
        house.answers(exchange)
        body = ENCODERS[coding](exchange.asked(stream=False))
        headers = [(b"content-encoding", coding.upper().encode())]
        client = await asked(house.bridge, path_of(exchange), body, headers=headers)

        assert client.status == 200
        [sent] = house.upstream.requests
        assert b"content-encoding" not in dict(sent.headers)
        assert json.loads(sent.body)["model"] == exchange.request["model"]
        assert len(house.recorder.kept.prompts) == 1


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        (b"br", b"anything", 415),
        (b"gzip, zstd", b"anything", 415),
        (b"gzip", b'{"model": "m"}', 415),
        (b"gzip", gzip.compress(b'{"model": "m"}')[:-4], 415),
        (b"zstd", zstd.compress(b'{"model": "m"}')[:-1], 415),
        (b"gzip", gzip.compress(b" " * 2_000_000), 413),
        (b"zstd", zstd.compress(b" " * 2_000_000), 413),
        (b"zstd", zstd.compress(b" " * 900_000), 400),
        (b"", b"no JSON", 400),
        (b"identity", b"no JSON", 400),
    ],
)
async def test_a_body_that_cannot_be_decoded_is_refused(coding: bytes, body: bytes, status: int) -> None:
    async with opened(max_body=1_000_000) as house:
        client = await asked(house.bridge, path_of(RESPONSES), body, headers=[(b"content-encoding", coding)])

        assert client.status == status
        assert problem(client)
        assert house.recorder.attempts == []


# -- who asks, and for what -----------------------------------------------------------------------------


@every_dialect
async def test_without_an_actor_nobody_gets_in(exchange: Exchange) -> None:
    async with opened() as house:
        client = await asked(house.bridge, path_of(exchange), exchange.asked(stream=True), actor=None)

        assert client.status == 401
        assert client.header("x-should-retry") == b"false"
        assert client.header("www-authenticate") == b"Bearer"
        assert json.loads(client.body)["error"]["type"] == "authentication_error"
        assert house.recorder.attempts == []


async def test_an_authenticator_may_refuse_with_headers_of_its_own() -> None:
    class Busy:
        async def authenticate(self, scope: Mapping[str, Any]) -> Identity:
            raise Refused(Problem(429, "too many bad tokens", headers=[(b"retry-after", b"60")]))

    async with opened(authenticator=Busy()) as house:
        client = await asked(house.bridge, path_of(CHAT), CHAT.asked(stream=True))

        assert (client.status, client.header("retry-after")) == (429, b"60")
        assert json.loads(client.body)["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/elsewhere", 404, "route not supported: POST /elsewhere"),
        ("POST", "/anthropic/v1/complete", 404, "route not supported: POST /anthropic/v1/complete"),
        ("GET", "/anthropic/v1/messages", 405, "method not allowed: GET /anthropic/v1/messages"),
        ("POST", "/anthropic/v1/../v1/messages", 400, None),
        ("POST", "/openai/v1/chat%2fcompletions", 400, None),
    ],
)
async def test_a_path_that_leads_nowhere_is_told_so_without_asking_who(
    method: str, path: str, status: int, message: str | None
) -> None:
    async with opened() as house:
        client = await asked(house.bridge, path, method=method, actor=None)

        assert client.status == status
        if message is not None:
            assert problem(client) == message
        assert client.header("x-content-type-options") == b"nosniff"
        assert house.upstream.requests == []


@every_dialect
async def test_a_refusal_has_an_id_that_the_sdks_show_and_the_log_knows(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="aibridge")
    async with opened() as house:
        refused = [await asked(house.bridge, path_of(exchange), body) for body in (b"{", b"[]")]

    ids = [client.header("request-id") for client in refused]
    assert [client.header("x-request-id") for client in refused] == ids
    assert len(set(ids)) == 2
    lines = [line for line in caplog.records if line.msg == "request refused"]
    assert [vars(line)["request_id"].encode() for line in lines] == ids
    assert {(vars(line)["http_status"], vars(line)["provider"]) for line in lines} == {(400, exchange.provider)}
    if exchange is MESSAGES:
        assert [json.loads(client.body)["request_id"].encode() for client in refused] == ids


@pytest.mark.parametrize("path", ["/", "/anthropic", "/copilot", "/openai/"])
async def test_a_probe_is_answered(path: str) -> None:
    async with opened() as house:
        client = await asked(house.bridge, path, method="HEAD", actor=None)

        assert (client.status, client.body) == (200, b"")


async def test_a_switched_off_provider_says_its_name() -> None:
    off = providers.openai(name="openai-eu", key=KEY, enabled=False)
    async with opened(providers=[off]) as house:
        client = await asked(house.bridge, "/openai-eu/v1/responses", RESPONSES.asked(stream=True))

        assert client.status == 503
        assert "openai-eu" in problem(client)


# -- web sockets, and other scopes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [("/openai/v1/responses", 426), ("/copilot/responses/", 426), ("/openai/v1/realtime", 501), ("/", 501)],
)
async def test_a_web_socket_is_refused_so_that_clients_fall_back(path: str, status: int) -> None:
    sent: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": path, "headers": [], "extensions": {"websocket.http.response": {}}}
    async with opened() as house:
        await house.bridge(scope, receive, send)

    assert [message["type"] for message in sent] == ["websocket.http.response.start", "websocket.http.response.body"]
    assert sent[0]["status"] == status
    assert "POST" in json.loads(sent[1]["body"])["error"]["message"]


@pytest.mark.parametrize("extensions", [{}, None, {"other": {}}])
async def test_a_web_socket_of_a_server_that_cannot_answer_it_is_closed(extensions: object) -> None:
    sent: list[Mapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    async with opened() as house:
        await house.bridge({"type": "websocket", "path": "/x", "extensions": extensions}, receive, send)

    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_a_scope_that_nobody_knows_is_refused() -> None:
    async with opened() as house:
        with pytest.raises(ValueError, match="unsupported ASGI scope"):
            await house.bridge({"type": "smtp"}, None, None)  # type: ignore[arg-type]  # it is not looked at

"""What goes to a provider in whose name, what a rule of ours keeps from it, and what the client's end does to it."""

import asyncio
import hashlib
import hmac
import json
from dataclasses import replace

import pytest

from aibridge.actor import Actor
from aibridge.errors import AnswerBroken, Refused
from tests.exchanges import EXCHANGES, MESSAGES, RESPONSES, Exchange
from tests.fakes.interceptions import KEY, stage
from tests.waiting import settled, until

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])


# -- whom the provider is asked for, and how ------------------------------------------------------------


@every_dialect
@pytest.mark.parametrize("choice", ["id", "username", "email", "hash", "off"])
async def test_the_provider_is_told_whom_a_request_is_for(exchange: Exchange, choice: str) -> None:
    expected = {
        "id": "user-ada",
        "username": "ada",
        "email": "ada@example.org",
        "hash": hmac.new(b"k" * 32, b"user-ada", hashlib.sha256).hexdigest(),
        "off": None,
    }[choice]
    scene = stage(exchange, provider={"upstream_user": choice})
    scene.answers()
    await scene.run(stream=False)

    [sent] = scene.upstream.requests
    found = json.loads(sent.body)
    for name in exchange.attribution:
        found = found.get(name, {})
    assert found == (expected if expected is not None else {})
    assert scene.recorder.kept.interceptions[0].upstream_user == expected


@pytest.mark.parametrize(
    ("asked", "sent", "recorded"),
    [
        (b'{"model":"m","input":[]}', b'{"model":"m","input":[]}', None),
        (b'{"model":"m","input":[],"user":"x"}', b'{"model":"m","input":[],"user":"user-ada"}', "user-ada"),
    ],
)
async def test_a_name_that_the_provider_was_not_given_is_not_on_record(
    asked: bytes, sent: bytes, recorded: str | None
) -> None:
    scene = stage(replace(RESPONSES, path="/v1/responses/compact"))  # which takes no `safety_identifier`
    scene.answers()
    await scene.run(body=asked)

    assert scene.upstream.requests[0].body == sent
    assert scene.recorder.kept.interceptions[0].upstream_user == recorded


@every_dialect
async def test_an_identifier_that_is_too_long_is_hashed(exchange: Exchange) -> None:
    long = "user-" + "x" * 300
    scene = stage(exchange)
    scene.answers()
    await scene.run(stream=False, actor=Actor(id=long))

    [started] = scene.recorder.kept.interceptions
    assert started.upstream_user == hmac.new(b"k" * 32, long.encode(), hashlib.sha256).hexdigest()
    assert long.encode() not in scene.upstream.requests[0].body


@every_dialect
async def test_nothing_else_of_the_request_changes(exchange: Exchange) -> None:
    body = exchange.asked(stream=True)
    scene = stage(exchange)
    scene.streams()
    await scene.run(body=body, query=b"beta=true", headers=[(b"x-odd", b"\xff"), (b"authorization", b"")])

    [sent] = scene.upstream.requests
    found, asked = json.loads(sent.body), json.loads(body)
    found.pop(exchange.attribution[0])
    assert found == asked
    assert list(found) == list(asked)
    assert (sent.method, sent.url) == (
        "POST",
        f"{scene.provider.base_url}{exchange.upstream_path}?beta=true",
    )
    headers = dict(sent.headers)
    assert headers[b"x-odd"] == b"\xff"
    key = (b"x-api-key", KEY.encode()) if exchange.provider == "anthropic" else None
    assert (key or (b"authorization", b"Bearer " + KEY.encode())) in sent.headers


@both_modes
async def test_the_deadlines_are_the_providers(stream: bool) -> None:
    settings = {
        "connect_timeout": 1.0,
        "first_byte_timeout": 2.0,
        "blocking_first_byte_timeout": 3.0,
        "stall_timeout": 4.0,
    }
    scene = stage(MESSAGES, provider=settings)
    (scene.streams if stream else scene.answers)()
    await scene.run(stream=stream)

    [used] = scene.upstream.timeouts
    assert (used.connect, used.first_byte, used.stall) == (1.0, 2.0 if stream else 3.0, 4.0)
    assert scene.upstream.decoded == [True]


# -- refused by a rule of ours --------------------------------------------------------------------------


async def test_background_responses_are_rejected_on_record() -> None:
    scene = stage(RESPONSES)
    await scene.run(body=json.dumps({**RESPONSES.request, "background": True}).encode())

    assert scene.client.status == 501
    assert "background" in json.loads(scene.client.body)["error"]["message"]
    end = scene.recorder.end
    assert (end.state, end.http_status) == ("rejected", 501)
    assert scene.upstream.requests == []


async def test_a_credential_of_ones_own_where_it_is_not_taken_is_rejected_on_record() -> None:
    scene = stage(MESSAGES, provider={"allow_byok": False})
    await scene.run(headers=[(b"x-api-key", b"sk-own-0123456789")])

    assert scene.client.status == 403
    assert scene.recorder.end.state == "rejected"
    [started] = scene.recorder.kept.interceptions
    assert (started.credential_kind, started.credential_hint) == ("byok", "...")
    assert scene.upstream.requests == []


@pytest.mark.parametrize(
    ("settings", "headers", "body", "status"),
    [
        ({"key": None}, [], None, 401),
        ({}, [(b"x-api-key", b"one"), (b"x-api-key", b"two")], None, 400),
        ({}, [], b"no JSON", 400),
        ({}, [], b"[]", 400),
        ({}, [], b'{"messages": []}', 400),
        ({}, [], b'{"model": "a", "model": "b"}', 400),
    ],
    ids=["no credential", "two credentials", "no JSON", "no object", "no model", "a doubled key"],
)
async def test_what_is_refused_before_it_is_understood_leaves_no_record(
    settings: dict[str, object], headers: list[tuple[bytes, bytes]], body: bytes | None, status: int
) -> None:
    scene = stage(MESSAGES, provider=settings)
    with pytest.raises(Refused) as refused:
        await scene.run(headers=headers, body=body)

    assert refused.value.problem.status == status
    assert scene.recorder.attempts == []


async def test_a_query_that_does_not_belong_in_a_url_is_rejected_on_record() -> None:
    scene = stage(MESSAGES)
    await scene.run(query=b"a=\xff")

    assert scene.client.status == 400
    assert scene.recorder.end.state == "rejected"


# -- the client -----------------------------------------------------------------------------------------


@every_dialect
async def test_a_client_that_reads_slowly_slows_its_provider(exchange: Exchange) -> None:
    scene = stage(exchange)
    scene.streams()
    task = scene.begin()
    await scene.client.until(len(exchange.events[0]))
    scene.client.reads.clear()
    await settled()
    came = scene.journal.of("provider").count("sent")
    await settled()
    assert scene.journal.of("provider").count("sent") == came < len(exchange.events)
    scene.client.reads.set()
    await task

    assert scene.client.body == exchange.stream


@every_dialect
async def test_a_client_that_is_gone_is_read_to_the_end_where_that_is_wanted(exchange: Exchange) -> None:
    """`on_disconnect = "drain"`: nobody interrupts, and the usage is exact."""
    goes_on = asyncio.Event()
    scene = stage(exchange)
    scene.streams(*exchange.events[:3], goes_on, *exchange.events[3:])
    task = scene.begin()
    await scene.client.until(len(exchange.events[0]))
    scene.writer.abandon()
    goes_on.set()
    await task

    end = scene.recorder.end
    assert end.state == "client_gone"
    [used] = scene.recorder.kept.token_usages
    assert (used.output_tokens, used.partial) == (42, False)
    assert not scene.client.ended
    assert scene.upstream.cut == 0


async def test_a_client_that_is_gone_before_anything_was_asked_costs_nothing() -> None:
    for drains in (True, False):
        scene = stage(MESSAGES)
        task = scene.begin()
        if drains:
            scene.writer.abandon()
        else:
            scene.hang_up()
        await task

        assert scene.upstream.requests == []
        assert (scene.recorder.end.state, scene.recorder.end.http_status) == ("client_gone", None)


@both_modes
async def test_a_server_that_says_by_an_error_that_the_client_is_gone_is_understood(stream: bool) -> None:
    scene = stage(MESSAGES)
    (scene.streams if stream else scene.answers)()
    scene.client.fault = BrokenPipeError()
    await scene.run(stream=stream)

    assert scene.recorder.end.state == ("client_gone" if stream else "completed")


@both_modes
async def test_a_server_that_fails_is_a_fault_of_the_house(stream: bool) -> None:
    scene = stage(MESSAGES)
    (scene.streams if stream else scene.answers)()
    scene.client.fault = RuntimeError("the server's own")
    with pytest.raises(RuntimeError):
        await scene.run(stream=stream)

    assert scene.recorder.end.state == ("gateway_aborted" if stream else "completed")


async def test_a_client_that_reads_nothing_does_not_keep_the_gateway_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aibridge.last_words._DEADLINE", 0.05)
    scene = stage(MESSAGES)
    scene.streams(*MESSAGES.events[:4], asyncio.Event())
    task = scene.begin()
    await until(lambda: bool(scene.client.pieces))
    scene.client.reads.clear()
    await settled()
    scene.interruption.interrupt("gateway_aborted")
    with pytest.raises(AnswerBroken):
        await task

    assert scene.recorder.end.state == "gateway_aborted"
    assert scene.upstream.running == 0

"""Requests through a provider with several keys: which one serves, and what the client hears when none does."""

import json

import pytest

from aibridge.notices import FailedOver, KeyChanged, PoolExhausted
from tests.exchanges import EXCHANGES, MESSAGES, Exchange
from tests.fakes.interceptions import Stage, stage
from tests.fakes.upstream import JSON, Scripted

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])

KEYS = ["sk-one-0123456789abcdef-one", "sk-two-0123456789abcdef-two", "sk-three-0123456789abcdef-3"]
HINTS = ["sk-o...-one", "sk-t...-two", "sk-t...ef-3"]
LIMITED = b'{"error":{"type":"rate_limit_error","message":"too many"}}'


def pooled(exchange: Exchange, keys: int = 2, **provider: object) -> Stage:
    return stage(exchange, provider={"keys": KEYS[:keys], **provider})


def limits(scene: Stage, *headers: tuple[bytes, bytes], status: int = 429) -> None:
    scene.answers(LIMITED, status=status, headers=headers)


def serves(scene: Stage, *, stream: bool) -> None:
    scene.streams() if stream else scene.answers()


def used(scene: Stage) -> list[int]:
    """Which key each request went out with, from 0."""
    asked = [
        {name: value.decode().removeprefix("Bearer ") for name, value in one.headers} for one in scene.upstream.requests
    ]
    return [KEYS.index(one.get(b"x-api-key") or one[b"authorization"]) for one in asked]


@every_dialect
@both_modes
async def test_a_key_at_its_limit_rests_and_the_next_one_serves(exchange: Exchange, stream: bool) -> None:
    scene = pooled(exchange)
    limits(scene, (b"retry-after", b"20"))
    serves(scene, stream=stream)
    await scene.run(stream=stream)
    assert scene.client.status == 200
    assert scene.client.body == (exchange.stream if stream else exchange.body)
    scene.next_client()
    serves(scene, stream=stream)
    await scene.run(stream=stream)
    assert scene.client.status == 200
    scene.clock.passed += 20
    scene.next_client()
    serves(scene, stream=stream)
    await scene.run(stream=stream)

    assert used(scene) == [0, 1, 1, 0]
    assert [end.credential_hint for end in scene.recorder.kept.ends] == ["sk-t...-two", "sk-t...-two", "sk-o...-one"]
    assert {end.state for end in scene.recorder.kept.ends} == {"completed"}
    name = scene.provider.name
    assert scene.observer.notices == [
        KeyChanged(provider_name=name, place=1, state="cooling"),
        FailedOver(provider_name=name, reason="rate_limited"),
        KeyChanged(provider_name=name, place=1, state="usable"),
    ]
    assert scene.pauses == []
    assert [request.purpose.attempt for request in scene.upstream.requests if request.purpose] == [0, 1, 0, 0]
    assert len({request.body for request in scene.upstream.requests}) == 1


@every_dialect
@both_modes
async def test_when_all_keys_rest_the_client_hears_when_to_come_back(exchange: Exchange, stream: bool) -> None:
    scene = pooled(exchange, 3)
    for seconds in (b"50", b"30", b"40"):
        limits(scene, (b"retry-after", seconds))
    await scene.run(stream=stream)
    first = scene.client
    scene.clock.passed += 9.5
    scene.next_client()
    await scene.run(stream=stream)

    for client, seconds in ((first, b"30"), (scene.client, b"21")):
        assert (client.status, client.header("retry-after")) == (429, seconds)
        error = json.loads(client.body)["error"]
        assert error["type"] == "rate_limit_error"
        assert error["message"].startswith("all keys of provider")
    assert used(scene) == [0, 1, 2]
    for end in scene.recorder.kept.ends:
        assert (end.state, end.http_status, end.error_type) == ("upstream_error", 429, "rate_limit_error")
    assert [notice.reason for notice in scene.observer.notices if isinstance(notice, PoolExhausted)] == [
        "rate_limited"
    ] * 2
    scene.clock.passed += 20.5
    scene.next_client()
    scene.streams()
    await scene.run()
    assert (scene.client.status, used(scene)[-1]) == (200, 1)


@every_dialect
async def test_a_key_that_is_refused_rests_for_all_models(exchange: Exchange) -> None:
    scene = pooled(exchange)
    limits(scene, status=401)
    scene.streams()
    await scene.run()
    other = json.dumps({**exchange.request, "model": "another", "stream": True}).encode()
    scene.next_client()
    scene.streams()
    await scene.run(body=other)

    assert used(scene) == [0, 1, 1]
    assert FailedOver(provider_name=scene.provider.name, reason="refused") in scene.observer.notices
    scene.clock.passed += 60
    scene.next_client()
    scene.streams()
    await scene.run()
    assert used(scene)[-1] == 0


async def test_a_limit_of_one_model_leaves_the_key_to_the_others() -> None:
    scene = pooled(MESSAGES)
    limits(scene)
    scene.streams()
    await scene.run()
    scene.next_client()
    scene.streams()
    await scene.run(body=json.dumps({**MESSAGES.request, "model": "claude-haiku-4-5", "stream": True}).encode())

    assert used(scene) == [0, 1, 0]


@every_dialect
async def test_when_all_keys_are_refused_it_is_the_gateways_fault(exchange: Exchange) -> None:
    scene = pooled(exchange)
    limits(scene, status=401)
    limits(scene, status=401)
    await scene.run()
    first = scene.client
    scene.next_client()
    await scene.run()

    for client in (first, scene.client):
        assert client.status == 502
        assert client.header("retry-after") is None
        assert "refused all of the gateway's keys" in json.loads(client.body)["error"]["message"]
        assert not any(key.encode() in client.body for key in KEYS)
    assert used(scene) == [0, 1]
    assert {(end.state, end.error_type) for end in scene.recorder.kept.ends} == {
        ("upstream_error", "authentication_error")
    }
    assert len(scene.observer.of(PoolExhausted)) == 2


async def test_one_refused_and_one_limited_key_promise_what_the_limited_one_does() -> None:
    scene = pooled(MESSAGES)
    limits(scene, status=401)
    limits(scene, (b"retry-after-ms", b"90500"))
    await scene.run()

    assert (scene.client.status, scene.client.header("retry-after")) == (429, b"91")


async def test_other_errors_are_relayed_byte_for_byte_without_another_key() -> None:
    for status in (400, 403, 500, 503):
        scene = pooled(MESSAGES)
        limits(scene, status=status)
        await scene.run()

        assert used(scene) == [0]
        if status == 403:
            assert scene.client.status == 502
        else:
            assert (scene.client.status, scene.client.body) == (status, LIMITED)
        assert scene.observer.notices == []


async def test_after_a_limit_the_error_of_the_next_key_is_the_answer() -> None:
    scene = pooled(MESSAGES)
    limits(scene)
    scene.answers(b'{"type":"error","error":{"type":"api_error","message":"oops"}}', status=500)
    await scene.run()

    assert (scene.client.status, used(scene)) == (500, [0, 1])
    assert scene.client.body == b'{"type":"error","error":{"type":"api_error","message":"oops"}}'
    assert scene.recorder.end.credential_hint == "sk-t...-two"


async def test_a_single_key_never_rests() -> None:
    for status in (429, 401):
        scene = stage(MESSAGES, provider={"keys": KEYS[:1], "max_retries": 1})
        limits(scene, (b"x-should-retry", b"false"), (b"retry-after", b"20"), status=status)
        await scene.run()
        assert scene.client.status == (429 if status == 429 else 502)
        scene.next_client()
        scene.streams()
        await scene.run()

        assert (scene.client.status, used(scene)) == (200, [0, 0])


@every_dialect
async def test_a_credential_of_the_users_own_is_never_exchanged(exchange: Exchange) -> None:
    own = (b"authorization", b"Bearer sk-own-0123456789abcdef")
    for status in (429, 401):
        scene = pooled(exchange, max_retries=0)
        limits(scene, (b"retry-after", b"5"), status=status)
        await scene.run(headers=[own])

        assert (scene.client.status, scene.client.body) == (status, LIMITED)
        assert scene.client.header("retry-after") == b"5"
        assert len(scene.upstream.requests) == 1
        assert own in scene.upstream.requests[0].headers
        assert scene.observer.notices == []


async def test_nothing_is_exchanged_once_something_was_streamed() -> None:
    scene = pooled(MESSAGES)
    limited = b'event: error\ndata: {"type":"error","error":{"type":"rate_limit_error","message":"too many"}}\n\n'
    scene.upstream.answers.append(Scripted((*MESSAGES.events[:3], limited)))
    await scene.run()

    assert len(scene.upstream.requests) == 1
    assert scene.client.body.endswith(limited)
    assert scene.recorder.end.error_type == "rate_limit_error"


async def test_what_is_known_survives_a_new_configuration_by_name_and_key() -> None:
    scene = pooled(MESSAGES)
    limits(scene)
    scene.streams()
    await scene.run()
    other = stage(MESSAGES, provider={"keys": [KEYS[2], KEYS[1], KEYS[0]]})
    around = scene.states.of("anthropic")
    assert around is not None
    scene.states.adopt([other.provider], around.around)
    state = scene.states.of("anthropic")
    assert state is around

    assert [key.state for key in state.status().keys] == ["usable", "usable", "cooling"]
    assert [key.hint for key in state.status().keys] == [HINTS[2], HINTS[1], HINTS[0]]
    scene.states.adopt([stage(MESSAGES).provider], around.around)
    assert scene.states.of("anthropic") is None


async def test_the_answer_that_is_given_up_is_left() -> None:
    scene = pooled(MESSAGES)
    scene.upstream.answers.append(Scripted((LIMITED, b"more"), 429, (JSON,)))
    scene.streams()
    await scene.run()

    assert (scene.upstream.running, scene.upstream.cut) == (0, 1)

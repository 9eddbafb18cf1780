"""Asking again: only before the first byte, only as often as configured, only when it may help."""

import asyncio

import pytest

from aibridge.errors import UpstreamFailure, UpstreamReset, UpstreamStalled, UpstreamUnreachable
from aibridge.notices import Retried
from tests.exchanges import CHAT, EXCHANGES, MESSAGES, Exchange
from tests.fakes.interceptions import Stage, stage
from tests.fakes.upstream import EVENT_STREAM, Scripted

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])

ERROR = b'{"error":{"type":"api_error","message":"try again"}}'


def retrying(exchange: Exchange, times: int = 2) -> Stage:
    return stage(exchange, provider={"max_retries": times})


def breaks(scene: Stage, error: UpstreamFailure) -> None:
    scene.upstream.answers.append(Scripted((), 200, [EVENT_STREAM], (error,)))


@every_dialect
@both_modes
async def test_what_failed_is_asked_again_with_the_same_bytes(exchange: Exchange, stream: bool) -> None:
    scene = retrying(exchange)
    breaks(scene, UpstreamUnreachable("no connection to the provider"))
    scene.answers(ERROR, status=529)
    scene.streams() if stream else scene.answers()
    await scene.run(stream=stream)

    assert (scene.client.status, scene.client.body) == (200, exchange.stream if stream else exchange.body)
    assert scene.pauses == [0.5, 1.0]
    first, second, third = scene.upstream.requests
    assert (first.body, list(first.headers), first.url) == (second.body, list(second.headers), second.url)
    assert first.body == third.body
    name = scene.provider.name
    assert scene.observer.notices == [
        Retried(provider_name=name, reason="unreachable"),
        Retried(provider_name=name, reason="529"),
    ]
    assert scene.recorder.end.state == "completed"
    assert len(scene.recorder.kept.token_usages) == 1


async def test_by_default_nothing_is_asked_twice() -> None:
    scene = stage(MESSAGES)
    scene.answers(ERROR, status=503)
    await scene.run()

    assert (scene.client.status, scene.client.body, scene.pauses) == (503, ERROR, [])


async def test_when_it_does_not_help_the_last_error_is_the_answer() -> None:
    scene = retrying(CHAT)
    for number in range(3):
        scene.answers(b'{"error":{"message":"%d"}}' % number, status=500, headers=[(b"x-request-id", b"%d" % number)])
    await scene.run()

    assert (scene.client.status, scene.client.body) == (500, b'{"error":{"message":"2"}}')
    assert scene.client.header("x-request-id") == b"2"
    scene = retrying(CHAT, 1)
    breaks(scene, UpstreamUnreachable("first"))
    breaks(scene, UpstreamUnreachable("last"))
    await scene.run()
    assert scene.client.status == 502
    assert scene.recorder.end.error_message == "last"


async def test_the_wait_is_the_providers_where_it_names_one() -> None:
    scene = retrying(MESSAGES)
    scene.answers(ERROR, status=429, headers=[(b"retry-after", b"7")])
    scene.answers(ERROR, status=429, headers=[(b"retry-after-ms", b"120"), (b"retry-after", b"3")])
    scene.streams()
    await scene.run()

    assert scene.pauses == [7.0, 0.12]
    assert scene.client.status == 200


async def test_a_wait_that_is_too_long_is_the_clients_to_decide() -> None:
    scene = retrying(MESSAGES)
    scene.answers(ERROR, status=429, headers=[(b"retry-after", b"61")])
    await scene.run()

    assert (scene.client.status, scene.client.header("retry-after"), scene.pauses) == (429, b"61", [])


async def test_the_provider_says_itself_whether_another_attempt_helps() -> None:
    scene = retrying(MESSAGES)
    scene.answers(ERROR, status=503, headers=[(b"x-should-retry", b"false")])
    await scene.run()
    assert (scene.client.status, scene.pauses) == (503, [])
    scene = retrying(MESSAGES)
    scene.answers(ERROR, status=400, headers=[(b"x-should-retry", b"true")])
    scene.streams()
    await scene.run()

    assert (scene.client.status, scene.pauses) == (200, [0.5])


@pytest.mark.parametrize("status", [401, 403])
async def test_a_users_own_credential_that_is_refused_is_not_tried_again(status: int) -> None:
    scene = retrying(MESSAGES)
    scene.answers(ERROR, status=status, headers=[(b"x-should-retry", b"true")])
    await scene.run(headers=[(b"x-api-key", b"sk-own-0123456789abcdef")])

    assert (scene.client.status, scene.client.body, scene.pauses) == (status, ERROR, [])


async def test_a_users_own_request_is_retried_as_any_other() -> None:
    scene = retrying(MESSAGES)
    scene.answers(ERROR, status=503)
    scene.streams()
    await scene.run(headers=[(b"x-api-key", b"sk-own-0123456789abcdef")])

    assert (scene.client.status, scene.pauses) == (200, [0.5])
    assert scene.recorder.end.credential_hint == "sk-o...cdef"


async def test_silence_is_not_answered_with_more_waiting() -> None:
    scene = retrying(MESSAGES)
    breaks(scene, UpstreamStalled("the provider sent nothing for 120 s"))
    await scene.run()

    assert (scene.client.status, len(scene.upstream.requests)) == (504, 1)


async def test_what_breaks_after_its_first_byte_is_not_asked_again() -> None:
    scene = retrying(MESSAGES)
    scene.streams(*MESSAGES.events[:2], UpstreamReset("the provider's answer broke off"))
    await scene.run()

    assert len(scene.upstream.requests) == 1
    assert scene.recorder.end.state == "upstream_error"


async def test_a_client_that_goes_while_we_wait_is_not_asked_for() -> None:
    scene = retrying(MESSAGES)
    scene.answers(ERROR, status=503)

    async def hang_up_and_wait(seconds: float) -> None:
        scene.hang_up()
        await asyncio.Event().wait()

    state = scene.states.of("anthropic")
    assert state is not None
    object.__setattr__(state.around, "pause", hang_up_and_wait)
    await scene.run()

    assert len(scene.upstream.requests) == 1
    assert scene.recorder.end.state == "client_gone"

"""What makes a circuit open, what does not, and what the client hears when it is."""

import asyncio
import json

import pytest

from aibridge.breaker import BreakerSettings, Circuit
from aibridge.errors import UpstreamFailure, UpstreamReset, UpstreamStalled, UpstreamUnreachable
from aibridge.notices import CircuitChanged, CircuitRefused
from tests.exchanges import CHAT, EXCHANGES, MESSAGES, RESPONSES, Exchange, named, unnamed
from tests.fakes.interceptions import Stage, stage
from tests.fakes.upstream import EVENT_STREAM, Scripted, Step
from tests.waiting import until

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])

ERROR = b'{"error":{"type":"overloaded_error","message":"Overloaded"}}'
OWN = (b"authorization", b"Bearer sk-own-0123456789abcdef")


def broken(exchange: Exchange, threshold: int = 2, probes: int = 1, **provider: object) -> Stage:
    settings = BreakerSettings(failure_threshold=threshold, max_requests=probes)
    return stage(exchange, provider={"circuit_breaker": settings, **provider})


def state(scene: Stage) -> str:
    known = scene.states.of(scene.provider.name)
    assert known is not None
    assert known.breaker is not None
    circuit = Circuit(scene.exchange.path, scene.exchange.request["model"])
    return known.breaker.state(circuit, scene.clock.monotonic())


async def once(scene: Stage, **asked: object) -> None:
    scene.next_client()
    await scene.run(**asked)


def answers(scene: Stage, status: int, body: bytes = ERROR) -> None:
    scene.answers(body, status=status)


def breaks(scene: Stage, *steps: Step, error: UpstreamFailure) -> None:
    before: tuple[Step, ...] = () if steps else (error,)
    scene.upstream.answers.append(Scripted((*steps, error) if steps else (), 200, [EVENT_STREAM], before))


@every_dialect
@both_modes
async def test_an_open_circuit_answers_without_asking_and_closes_when_probes_are_good(
    exchange: Exchange, stream: bool
) -> None:
    scene = broken(exchange)
    for _ in range(2):
        answers(scene, 529)
        await once(scene, stream=stream)
        assert (scene.client.status, scene.client.body) == (529, ERROR)
    scene.clock.passed += 0.5
    await once(scene, stream=stream)
    refused = scene.client
    scene.clock.passed += 29.5
    scene.streams() if stream else scene.answers()
    await once(scene, stream=stream)

    assert (refused.status, refused.header("retry-after")) == (503, b"30")
    error = json.loads(refused.body)["error"]
    assert error["message"] == "circuit breaker is open"
    if exchange is MESSAGES:
        assert error["type"] == "overloaded_error"
    else:
        assert (error["type"], error["code"]) == ("server_error", "service_unavailable")
    assert len(scene.upstream.requests) == 3
    ends = scene.recorder.kept.ends
    assert [end.state for end in ends] == ["upstream_error", "upstream_error", "rejected", "completed"]
    assert (ends[2].http_status, ends[2].error_message) == (503, "circuit breaker is open")
    assert len(scene.recorder.kept.prompts) == 4
    of_circuit = {
        "provider_name": scene.provider.name,
        "endpoint": exchange.path,
        "model": exchange.request["model"],
    }
    assert scene.observer.notices == [
        CircuitChanged(**of_circuit, state="open"),
        CircuitRefused(**of_circuit),
        CircuitChanged(**of_circuit, state="half_open"),
        CircuitChanged(**of_circuit, state="closed"),
    ]


@pytest.mark.parametrize("status", [503, 504, 529])
async def test_statuses_of_an_overloaded_provider_open_it(status: int) -> None:
    scene = broken(CHAT, 1)
    answers(scene, status)
    await once(scene)

    assert state(scene) == "open"


@every_dialect
@pytest.mark.parametrize(
    "error",
    [UpstreamUnreachable("no connection"), UpstreamStalled("the provider sent nothing"), UpstreamReset("broke off")],
    ids=lambda error: type(error).__name__,
)
async def test_what_breaks_or_stalls_opens_it_before_and_within_an_answer(
    exchange: Exchange, error: UpstreamFailure
) -> None:
    for events in (0, 2):
        scene = broken(exchange, 1)
        breaks(scene, *exchange.events[:events], error=error)
        await once(scene)

        assert state(scene) == "open"


OVERLOADS = {
    "messages": named(type="error", error={"type": "overloaded_error", "message": "Overloaded"}),
    "chat_completions": unnamed(error={"type": "server_error", "message": "That model is currently overloaded."}),
    "responses": named(
        type="response.failed",
        response={"id": "resp_1", "error": {"code": "server_is_overloaded", "message": "try again"}},
    ),
}


@every_dialect
async def test_an_overload_in_the_midst_of_a_good_stream_opens_it(exchange: Exchange) -> None:
    scene = broken(exchange, 2)
    for _ in range(2):
        assert state(scene) == "closed"
        scene.streams(*exchange.events[:3], OVERLOADS[exchange.dialect])
        await once(scene)
        assert scene.client.status == 200
        assert scene.recorder.kept.ends[-1].state == "upstream_error"

    assert state(scene) == "open"


@pytest.mark.parametrize("exchange", [MESSAGES, RESPONSES], ids=["messages", "responses"])
async def test_other_errors_in_a_stream_do_not_open_it(exchange: Exchange) -> None:
    scene = broken(exchange, 1)
    scene.streams(*exchange.events[:2], named(type="error", error={"type": "invalid_request_error", "message": "no"}))
    await once(scene)

    assert scene.recorder.end.state == "upstream_error"
    assert state(scene) == "closed"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502])
async def test_what_says_more_of_the_request_or_its_key_does_not_open_it(status: int) -> None:
    scene = broken(CHAT, 1)
    answers(scene, status)
    await once(scene)

    assert state(scene) == "closed"


async def test_a_users_own_credential_neither_opens_it_nor_is_held_up_by_it() -> None:
    scene = broken(CHAT, 1)
    answers(scene, 503)
    await once(scene, headers=[OWN])
    assert state(scene) == "closed"
    answers(scene, 503)
    await once(scene)
    assert state(scene) == "open"
    scene.streams()
    await once(scene, headers=[OWN])

    assert scene.client.status == 200
    assert state(scene) == "open"


async def test_other_models_go_on() -> None:
    scene = broken(CHAT, 1)
    answers(scene, 503)
    await once(scene)
    scene.streams()
    await once(scene, body=json.dumps({**CHAT.request, "model": "gpt-4.1-mini", "stream": True}).encode())

    assert scene.client.status == 200
    assert state(scene) == "open"


async def test_a_probe_whose_client_leaves_gives_its_place_back() -> None:
    scene = broken(MESSAGES, 1)
    answers(scene, 503)
    await once(scene)
    scene.clock.passed += 30
    scene.next_client()
    scene.hang_up()
    await scene.run()
    scene.next_client()
    scene.streams(*MESSAGES.events[:2], asyncio.Event())
    task = scene.begin()
    await until(lambda: scene.client.body != b"")
    scene.hang_up()
    await task
    assert state(scene) == "half_open"
    scene.streams()
    await once(scene)

    assert scene.client.status == 200
    assert state(scene) == "closed"


async def test_retries_end_when_the_circuit_opens() -> None:
    scene = broken(MESSAGES, 2, max_retries=5)
    for _ in range(2):
        answers(scene, 503)
    await once(scene)

    assert (scene.client.status, scene.client.body) == (503, ERROR)
    assert (len(scene.upstream.requests), scene.pauses) == (2, [0.5])
    assert scene.recorder.end.state == "upstream_error"


async def test_a_key_at_its_limit_is_no_failure_and_the_next_ones_success_counts() -> None:
    keys = ["sk-one-0123456789abcdef-one", "sk-two-0123456789abcdef-two"]
    scene = broken(MESSAGES, 1, keys=keys)
    answers(scene, 429)
    scene.streams()
    await once(scene)
    assert (scene.client.status, state(scene)) == (200, "closed")
    for _ in range(2):
        answers(scene, 429)
    scene.clock.passed += 60
    await once(scene)

    assert (scene.client.status, state(scene)) == (429, "closed")

"""Another provider in the place of the first, between fakes at the ports: when it is asked, when not, who is on record."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from aibridge import providers
from aibridge.breaker import BreakerSettings
from aibridge.errors import UpstreamFailure, UpstreamReset, UpstreamStalled, UpstreamUnreachable
from aibridge.model_names import ModelRules
from aibridge.notices import FellBack
from aibridge.providers.base import Provider
from aibridge.routes import RouteTable
from tests.exchanges import CHAT, EXCHANGES, MESSAGES, RESPONSES, Exchange
from tests.fakes.asgi import call, scope_of
from tests.fakes.house import opened, path_of
from tests.fakes.interceptions import ADA, KEY, Stage, stage
from tests.fakes.toolbox import ScriptedToolbox
from tests.fakes.turns import Call, Says, results_in
from tests.fakes.upstream import EVENT_STREAM, Scripted
from tests.waiting import until

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])

ERROR = b'{"error":{"type":"overloaded_error","message":"Overloaded"}}'
SPARE_KEY = "sk-spare-0123456789abcdef-rest"
TWO = ["sk-one-0123456789abcdef-one", "sk-two-0123456789abcdef-two"]
OWN = (b"authorization", b"Bearer sk-own-0123456789abcdef")


def spare(exchange: Exchange, **settings: Any) -> Provider:
    make = providers.anthropic if exchange.provider == "anthropic" else providers.openai
    return make(**{"name": "spare", "base_url": "http://spare.test", "key": SPARE_KEY, **settings})


def backed(exchange: Exchange, *, other: dict[str, Any] | None = None, **settings: Any) -> Stage:
    return stage(exchange, provider={"fallback": "spare", **settings}, other=spare(exchange, **(other or {})))


def breaks(scene: Stage, *events: bytes, error: UpstreamFailure) -> None:
    scene.upstream.answers.append(Scripted((*events, error), 200, [EVENT_STREAM], () if events else (error,)))


def plays(scene: Stage, *, stream: bool) -> None:
    scene.streams() if stream else scene.answers()


def hosts(scene: Stage) -> list[str]:
    return [request.url.split("/")[2] for request in scene.upstream.requests]


async def fails(scene: Stage, how: str) -> None:
    match how:
        case "unreachable":
            breaks(scene, error=UpstreamUnreachable("no connection"))
        case "an open circuit":
            scene.answers(ERROR, status=503)
            scene.streams()
            await scene.run()
            scene.next_client()
        case "keys at their limit":
            scene.answers(ERROR, status=429)
            scene.answers(ERROR, status=429)
        case "refused keys":
            scene.answers(ERROR, status=401)
            scene.answers(ERROR, status=401)
        case status:
            scene.answers(ERROR, status=int(status))


SETTINGS: dict[str, dict[str, Any]] = {
    "unreachable": {},
    "500": {},
    "503": {},
    "529": {},
    "an open circuit": {"circuit_breaker": BreakerSettings(failure_threshold=1)},
    "keys at their limit": {"keys": TWO},
    "refused keys": {"keys": TWO},
}


@every_dialect
@both_modes
@pytest.mark.parametrize("how", SETTINGS)
async def test_another_provider_answers_what_the_first_one_cannot(exchange: Exchange, stream: bool, how: str) -> None:
    scene = backed(exchange, **SETTINGS[how])
    await fails(scene, how)
    plays(scene, stream=stream)
    asked = len(scene.upstream.requests)
    await scene.run(stream=stream)

    assert (scene.client.status, scene.client.body) == (200, exchange.stream if stream else exchange.body)
    assert hosts(scene)[asked:] == {
        "an open circuit": ["spare.test"],
        "keys at their limit": ["provider.test"] * 2 + ["spare.test"],
        "refused keys": ["provider.test"] * 2 + ["spare.test"],
    }.get(how, ["provider.test", "spare.test"])
    last = scene.upstream.requests[-1]
    assert last.url == f"http://spare.test{exchange.upstream_path}"
    assert last.body == scene.upstream.requests[0].body or how == "an open circuit"
    assert last.purpose is not None
    assert last.purpose.provider_name == "spare"
    sent = [value for name, value in last.headers if name in (b"x-api-key", b"authorization")]
    assert [value.removeprefix(b"Bearer ") for value in sent] == [SPARE_KEY.encode()]
    assert scene.observer.of(FellBack)[-1:] == [FellBack(provider_name=scene.provider.name, to="spare")]
    begun, end = scene.recorder.kept.interceptions[-1], scene.recorder.kept.ends[-1]
    assert (begun.provider_name, end.served_by, end.state) == (scene.provider.name, "spare", "completed")
    assert end.credential_hint == "sk-s...rest"
    assert scene.upstream.running == 0


@every_dialect
@both_modes
async def test_as_long_as_the_first_one_answers_the_other_is_not_asked(exchange: Exchange, stream: bool) -> None:
    scene = backed(exchange)
    plays(scene, stream=stream)
    await scene.run(stream=stream)

    assert hosts(scene) == ["provider.test"]
    assert (scene.recorder.end.state, scene.recorder.end.served_by) == ("completed", None)
    assert scene.observer.notices == []


@every_dialect
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 499])
async def test_what_lies_in_the_request_or_its_key_is_the_clients_answer(exchange: Exchange, status: int) -> None:
    scene = backed(exchange)
    scene.answers(ERROR, status=status)
    await scene.run()

    assert hosts(scene) == ["provider.test"]
    assert scene.client.status == (502 if status in (401, 403) else status)
    assert scene.recorder.end.served_by is None


@every_dialect
async def test_a_callers_own_credential_is_sent_to_no_other_provider(exchange: Exchange) -> None:
    scene = backed(exchange)
    scene.answers(ERROR, status=529)
    await scene.run(headers=[OWN])

    assert (hosts(scene), scene.client.status) == (["provider.test"], 529)


REFERENCES: list[tuple[Exchange, dict[str, Any]]] = [
    (RESPONSES, {"previous_response_id": "resp_0"}),
    (RESPONSES, {"conversation": "conv_0"}),
    (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file_0"}]}]}),
    (MESSAGES, {"container": "container_0"}),
    (
        MESSAGES,
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f_0"}}]}]},
    ),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f_0"}}]}]}),
]


@pytest.mark.parametrize(("exchange", "naming"), REFERENCES)
async def test_what_names_something_stored_stays_where_that_is(exchange: Exchange, naming: dict[str, Any]) -> None:
    scene = backed(exchange)
    stored = ["resp_0", "conv_0", "file_0", "container_0", "f_0"]
    await scene.conversations.own(scene.provider.name, stored, ADA.id)
    scene.answers(ERROR, status=529)
    await scene.run(body=json.dumps({**exchange.request, "stream": True, **naming}).encode())

    assert (hosts(scene), scene.client.status) == (["provider.test"], 529)


@every_dialect
@pytest.mark.parametrize("error", [UpstreamReset("broke off"), UpstreamStalled("silent")], ids=["reset", "stalled"])
async def test_nothing_is_asked_again_once_an_answer_has_begun(exchange: Exchange, error: UpstreamFailure) -> None:
    scene = backed(exchange)
    breaks(scene, *exchange.events[:2], error=error)
    await scene.run()

    assert hosts(scene) == ["provider.test"]
    assert scene.client.status == 200
    assert scene.recorder.end.served_by is None


async def test_who_was_silent_until_the_deadline_has_cost_the_client_enough() -> None:
    scene = backed(MESSAGES)
    breaks(scene, error=UpstreamStalled("the provider sent nothing"))
    await scene.run()

    assert hosts(scene) == ["provider.test"]


@every_dialect
@both_modes
async def test_the_other_ones_error_is_the_answer_and_it_is_asked_once(exchange: Exchange, stream: bool) -> None:
    scene = backed(exchange)
    scene.answers(b'{"error":{"message":"first"}}', status=529)
    scene.answers(b'{"error":{"message":"second"}}', status=503)
    await scene.run(stream=stream)

    assert (scene.client.status, scene.client.body) == (503, b'{"error":{"message":"second"}}')
    assert hosts(scene) == ["provider.test", "spare.test"]
    end = scene.recorder.end
    assert (end.state, end.served_by, end.credential_hint) == ("upstream_error", "spare", "sk-s...rest")


async def test_its_own_retries_come_first_and_the_other_has_its_own() -> None:
    scene = backed(MESSAGES, max_retries=1, other={"max_retries": 2})
    for _ in range(4):
        scene.answers(ERROR, status=503)
    scene.streams()
    await scene.run()

    assert hosts(scene) == ["provider.test"] * 2 + ["spare.test"] * 3
    assert scene.client.status == 200


async def test_both_unreachable_is_told_once_and_recorded() -> None:
    scene = backed(CHAT)
    breaks(scene, error=UpstreamUnreachable("first"))
    breaks(scene, error=UpstreamUnreachable("second"))
    await scene.run()

    assert scene.client.status == 502
    assert (scene.recorder.end.error_message, scene.recorder.end.served_by) == ("second", "spare")


async def test_a_client_that_leaves_meanwhile_ends_it() -> None:
    scene = backed(MESSAGES)
    scene.answers(ERROR, status=529)
    held = asyncio.Event()
    scene.upstream.answers.append(Scripted(MESSAGES.events, before=(held,)))
    task = scene.begin()
    await until(lambda: len(scene.upstream.requests) == 2)
    scene.hang_up()
    await task

    assert (scene.recorder.end.state, scene.recorder.end.served_by) == ("client_gone", "spare")


# -- later turns ---------------------------------------------------------------------------------------

LOOK, DONE = Says(1, "I look it up. ", (Call("call_1"),)), Says(2, "It rains.")


def says(scene: Stage, turn: Says, *, stream: bool) -> None:
    dialect = scene.exchange.dialect
    scene.streams(turn.stream(dialect)) if stream else scene.answers(turn.body(dialect))


@every_dialect
@both_modes
async def test_further_turns_go_to_who_served_the_first(exchange: Exchange, stream: bool) -> None:
    scene = stage(
        exchange,
        provider={"fallback": "spare"},
        other=spare(exchange, aliases={"*": "model-of-the-spare"}),
        toolbox=ScriptedToolbox(),
    )
    scene.answers(ERROR, status=529)
    for turn in (LOOK, DONE):
        says(scene, turn, stream=stream)
    await scene.run(stream=stream)

    assert hosts(scene) == ["provider.test", "spare.test", "spare.test"]
    models = [json.loads(request.body)["model"] for request in scene.upstream.requests]
    assert models == [exchange.request["model"], "model-of-the-spare", "model-of-the-spare"]
    assert "call_1" in results_in(exchange.dialect, scene.upstream.requests[2].body)
    assert (scene.recorder.end.state, scene.recorder.end.served_by) == ("completed", "spare")


@every_dialect
async def test_a_later_turn_does_not_move(exchange: Exchange) -> None:
    scene = stage(exchange, provider={"fallback": "spare"}, other=spare(exchange), toolbox=ScriptedToolbox())
    says(scene, LOOK, stream=True)
    scene.answers(ERROR, status=529)
    await scene.run()

    assert hosts(scene) == ["provider.test", "provider.test"]
    assert (scene.recorder.end.state, scene.recorder.end.served_by) == ("upstream_error", None)


@both_modes
async def test_what_the_other_one_stores_is_owned_there(stream: bool) -> None:
    scene = backed(RESPONSES)
    scene.answers(ERROR, status=529)
    plays(scene, stream=stream)
    await scene.run(stream=stream)

    assert await scene.conversations.owner("spare", RESPONSES.response_id) == ADA.id
    assert await scene.conversations.owner(scene.provider.name, RESPONSES.response_id) is None


# -- models --------------------------------------------------------------------------------------------


@every_dialect
async def test_the_model_is_what_the_others_aliases_make_of_the_clients_name(exchange: Exchange) -> None:
    asked = exchange.request["model"]
    scene = backed(exchange, aliases={asked: "here"}, other={"aliases": {asked: "there"}})
    scene.answers(ERROR, status=529)
    scene.streams()
    await scene.run()

    first, second = scene.upstream.requests
    assert [json.loads(request.body)["model"] for request in (first, second)] == ["here", "there"]
    assert [request.purpose and request.purpose.model for request in (first, second)] == ["here", "there"]
    assert json.loads(first.body) == {**json.loads(second.body), "model": "here"}


async def test_a_model_that_one_may_not_ask_for_is_not_asked_elsewhere_either() -> None:
    scene = backed(MESSAGES, other={"aliases": {"*": "forbidden"}})
    scene.models = ModelRules(["claude-*"])
    scene.answers(ERROR, status=529)
    await scene.run()

    assert (hosts(scene), scene.client.status) == (["provider.test"], 529)


# -- what may be one -----------------------------------------------------------------------------------


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("no provider of this name", {}, None),
    ("another provider", {"fallback": "anthropic"}, {}),
    ("no fallback of its own", {}, {"fallback": "anthropic"}),
    ("same upstream_user", {"upstream_user": "email"}, {}),
    ("same offer_tools", {}, {"offer_tools": False}),
    ("same ask_usage", {"ask_usage": False}, {}),
    ("both must have keys", {"key": None}, {}),
    ("both must have keys", {}, {"key": None}),
]


@pytest.mark.parametrize(("why", "own", "other"), REFUSED)
def test_one_that_cannot_be_is_refused(why: str, own: dict[str, Any], other: dict[str, Any] | None) -> None:
    first = providers.anthropic(**{"key": KEY, "fallback": "spare", **own})
    others = [] if other is None else [spare(MESSAGES, **other)]
    with pytest.raises(ValueError, match=f"fallback .* of provider 'anthropic': .*{why}"):
        RouteTable([first, *others])


def test_one_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="must be of type anthropic"):
        RouteTable([providers.anthropic(key=KEY, fallback="spare"), spare(CHAT)])


def test_a_provider_that_hides_who_asks_is_not_replaced_by_one_that_would_be_told_it_by_the_client() -> None:
    first, other = providers.anthropic(key=KEY, fallback="spare"), spare(MESSAGES)
    with pytest.raises(ValueError, match="takes the name of who asks"):
        replace(first, attributed=False).fallback_among({"spare": other})


def test_only_bridged_routes_have_one_and_only_while_both_are_on() -> None:
    first = providers.anthropic(key=KEY, fallback="spare")

    def fallback(other: Provider, path: bytes) -> Any:
        route = RouteTable([first, other], prefixes=[""]).find("POST", b"/anthropic" + path)
        assert route is not None
        return route.fallback

    assert fallback(spare(MESSAGES), b"/v1/messages").provider.name == "spare"
    assert fallback(spare(MESSAGES), b"/v1/messages/count_tokens") is None
    assert fallback(spare(MESSAGES, enabled=False, key=None), b"/v1/messages") is None


@every_dialect
async def test_it_can_be_named_and_taken_away_while_the_bridge_runs(exchange: Exchange) -> None:
    make = providers.anthropic if exchange.provider == "anthropic" else providers.openai
    plain, other = make(base_url="http://provider.test", key=KEY), spare(exchange)
    with_fallback = make(base_url="http://provider.test", key=KEY, fallback="spare")
    told = []
    async with opened(providers=[plain, other]) as house:
        for now in ([plain, other], [with_fallback, other], [plain]):
            house.bridge.reconfigure(providers=now)
            house.upstream.answers[:] = [Scripted((ERROR,), 529), Scripted(exchange.events)]
            client = await call(house.bridge, scope_of(path_of(exchange)), exchange.asked(stream=True)).done()
            told.append(client.status)

    assert told == [529, 200, 529]

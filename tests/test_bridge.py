"""The bridge as an ASGI application: its life, what becomes of clients that go, and of faults of ours."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from aibridge import providers
from aibridge.actor import Actor
from aibridge.bridge import RequestBridge
from aibridge.errors import AnswerBroken
from aibridge.ports import Identity
from tests.exchanges import CHAT, EXCHANGES, MESSAGES, RESPONSES, Exchange, last_event
from tests.fakes.asgi import asked, call, scope_of
from tests.fakes.house import House, opened, path_of, problem
from tests.fakes.interceptions import ADA, BOB, KEY
from tests.fakes.journal import Journal
from tests.fakes.recorder import ScriptedRecorder, fails
from tests.fakes.upstream import EVENT_STREAM, JSON, Scripted, Step
from tests.waiting import settled, until

if sys.version_info >= (3, 14):
    pass
else:
    pass

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])


# -- its life -------------------------------------------------------------------------------------------


async def test_making_a_bridge_binds_no_loop_and_does_no_io() -> None:
    made = await asyncio.to_thread(lambda: RequestBridge(providers=[], recorder=ScriptedRecorder(Journal())))
    async with made:
        assert (await asked(made, "/", method="HEAD")).status == 200


@every_dialect
async def test_before_its_start_a_bridge_says_so_in_the_dialects_words(exchange: Exchange) -> None:
    client = await asked(House().bridge, path_of(exchange), exchange.asked(stream=True))

    assert client.status == 503
    assert problem(client) == "the gateway is not started"
    assert client.header("x-content-type-options") == b"nosniff"
    assert ("type" in json.loads(client.body)) == (exchange is MESSAGES)


async def test_a_server_may_run_it_as_its_whole_application() -> None:
    house = House()
    events: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    said: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()

    async def send(message: Mapping[str, Any]) -> None:
        said.put_nowait(message)

    lifespan = asyncio.create_task(house.bridge({"type": "lifespan"}, events.get, send))
    events.put_nowait({"type": "lifespan.startup"})
    assert await said.get() == {"type": "lifespan.startup.complete"}
    house.answers(MESSAGES)
    assert (await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=False))).status == 200
    events.put_nowait({"type": "lifespan.shutdown"})
    assert await said.get() == {"type": "lifespan.shutdown.complete"}
    await lifespan

    assert house.upstream.closed
    assert (await asked(house.bridge, path_of(MESSAGES), b"{}")).status == 503


async def test_while_it_drains_streams_run_on_and_new_requests_are_refused() -> None:
    async with opened() as house:
        goes_on = asyncio.Event()
        house.upstream.answers.append(Scripted((*MESSAGES.events[:2], goes_on, *MESSAGES.events[2:])))
        running = call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=True))
        await running.client.until(1)
        house.bridge.start_draining()

        refused = await asked(house.bridge, path_of(CHAT), CHAT.asked(stream=True))
        assert (refused.status, problem(refused)) == (503, "the gateway is shutting down")
        assert house.bridge.in_flight == 1
        goes_on.set()
        assert (await running.done()).body == MESSAGES.stream
        async with asyncio.timeout(1):
            await house.bridge.drained()
        assert house.bridge.in_flight == 0


@every_dialect
async def test_leaving_its_block_ends_streams_in_their_dialects_words(exchange: Exchange) -> None:
    async with opened() as house:
        house.holds(exchange, 3)
        running = call(house.bridge, scope_of(path_of(exchange)), exchange.asked(stream=True))
        await running.client.until(len(exchange.events[0]))

    client = await running.done()
    last = last_event(client.body)
    assert exchange.is_error(last)
    assert house.recorder.end.state == "gateway_aborted"
    assert house.upstream.closed


@pytest.mark.parametrize("sent", [b"", b'{"model": '], ids=["nothing", "half"])
async def test_leaving_its_block_does_not_wait_for_a_body_that_does_not_come(sent: bytes) -> None:
    async with opened() as house:
        uploading = call(house.bridge, scope_of(path_of(MESSAGES)), sent, whole=False)
        await until(lambda: house.bridge.in_flight == 1)
        await settled()

    client = await uploading.done()
    assert client.status == 503
    assert house.recorder.attempts == []


async def test_leaving_its_block_does_not_wait_for_an_authenticator_that_hangs() -> None:
    class Slow:
        async def authenticate(self, scope: Mapping[str, Any]) -> Identity:
            await asyncio.Event().wait()
            raise AssertionError

    async with opened(authenticator=Slow()) as house:
        waiting = call(house.bridge, scope_of(path_of(MESSAGES)), b"{}")
        await until(lambda: house.bridge.in_flight == 1)

    assert (await waiting.done()).status == 503


async def test_leaving_its_block_does_not_wait_for_a_client_that_does_not_read() -> None:
    house = House(closing=0.05)
    async with house.bridge:
        house.streams(MESSAGES)
        running = call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=True))
        running.client.reads.clear()
        await until(lambda: house.upstream.running == 1)
        await settled()

    await asyncio.wait([running.task], timeout=1)
    assert running.task.done()
    assert house.recorder.end.state == "gateway_aborted"


async def test_a_passthrough_that_the_gateway_ends_is_cut_once_it_has_begun() -> None:
    async with opened() as house:
        house.upstream.answers.append(Scripted((b'{"data": [', asyncio.Event()), 200, (JSON,)))
        begun = call(house.bridge, scope_of("/anthropic/v1/models", "GET"))
        await begun.client.until(1)
        house.upstream.answers.append(Scripted(before=(asyncio.Event(),)))
        waiting = call(house.bridge, scope_of("/anthropic/v1/models", "GET"))
        await until(lambda: len(house.upstream.requests) == 2)

    with pytest.raises(AnswerBroken):
        await begun.task
    assert not begun.client.ended
    assert (await waiting.done()).status == 503


async def test_what_a_revoked_credential_let_in_ends_and_nothing_else() -> None:
    class Keys:
        async def authenticate(self, scope: Mapping[str, Any]) -> Identity:
            return Identity(ADA, scope["headers"], b"", dict(scope["headers"])[b"key"].decode())

    async with opened(authenticator=Keys()) as house:
        calls = []
        for name in (b"first", b"second"):
            house.holds(MESSAGES, 2)
            scope = scope_of(path_of(MESSAGES), headers=[(b"key", name)])
            calls.append(call(house.bridge, scope, MESSAGES.asked(stream=True)))
            await calls[-1].client.until(1)
        assert house.bridge.credentials_in_use == {"first", "second"}
        house.bridge.abort_credential("first")
        told = (await calls[0].done()).body
        assert b"event: error" in told
        assert b"your credential is no longer valid" in told
        assert house.bridge.credentials_in_use == {"second"}
        assert not calls[1].task.done()
        assert house.recorder.end.state == "gateway_aborted"


# -- the client goes ------------------------------------------------------------------------------------


async def test_a_client_that_hangs_up_cancels_the_provider() -> None:
    async with opened() as house:
        house.holds(MESSAGES, 3)
        running = call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=True))
        await running.client.until(1)
        running.hang_up()
        await running.done()

        assert house.recorder.end.state == "client_gone"
        assert (house.upstream.running, house.upstream.cut) == (0, 1)


async def test_a_client_that_hangs_up_is_read_to_the_end_where_that_is_wanted() -> None:
    async with opened(on_disconnect="drain") as house:
        goes_on = asyncio.Event()
        house.upstream.answers.append(Scripted((*MESSAGES.events[:3], goes_on, *MESSAGES.events[3:])))
        running = call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=True))
        await running.client.until(1)
        running.hang_up()
        await settled()
        assert not running.task.done()
        goes_on.set()
        await running.done()

        assert house.recorder.end.state == "client_gone"
        [used] = house.recorder.kept.token_usages
        assert (used.output_tokens, used.partial) == (42, False)


async def test_draining_a_client_has_an_end() -> None:
    async with opened(on_disconnect="drain", drain_reading=0.05) as house:
        house.holds(MESSAGES, 3)
        running = call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=True))
        await running.client.until(1)
        running.hang_up()
        await running.done()

        assert house.recorder.end.state == "client_gone"
        assert [used.partial for used in house.recorder.kept.token_usages] == [True]


async def test_a_passthrough_is_never_drained() -> None:
    async with opened(on_disconnect="drain") as house:
        house.upstream.answers.append(Scripted((b"[", asyncio.Event()), 200, (JSON,)))
        running = call(house.bridge, scope_of("/anthropic/v1/models", "GET"))
        await running.client.until(1)
        running.hang_up()
        await running.done()

        assert house.upstream.running == 0


async def test_a_client_that_hangs_up_before_its_request_is_whole_leaves_nothing() -> None:
    async with opened() as house:
        uploading = call(house.bridge, scope_of(path_of(MESSAGES)), b'{"model"', whole=False)
        uploading.hang_up()
        client = await uploading.done()

        assert client.status is None
        assert house.recorder.attempts == []


async def test_a_server_that_calls_back_needs_no_task_that_waits_for_a_disconnect() -> None:
    heard: list[Callable[[], None] | None] = []
    async with opened() as house:
        house.holds(MESSAGES, 3)
        extensions = {"aibridge.on_disconnect": heard.append}
        scope = scope_of(path_of(MESSAGES), extensions=extensions)
        running = call(house.bridge, scope, MESSAGES.asked(stream=True))
        await running.client.until(1)
        [gone] = heard
        assert gone is not None
        gone()
        await running.done()

        assert house.recorder.end.state == "client_gone"
        assert heard[1:] == [None]


# -- faults of ours -------------------------------------------------------------------------------------


async def test_a_record_that_cannot_be_kept_is_a_503() -> None:
    async with opened() as house:
        house.recorder.faults["record_interception"] = fails
        client = await asked(house.bridge, path_of(RESPONSES), RESPONSES.asked(stream=True))

        assert (client.status, problem(client)) == (503, "this request cannot be recorded at the moment")
        assert house.upstream.requests == []


@every_dialect
async def test_a_fault_of_the_house_is_a_500_that_tells_nothing_and_a_line_in_the_log(
    exchange: Exchange, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def authenticate(self, scope: Mapping[str, Any]) -> Identity:
            raise KeyError("an inner matter")

    async with opened(authenticator=Broken()) as house:
        with caplog.at_level(logging.ERROR, "aibridge"):
            client = await asked(house.bridge, path_of(exchange), exchange.asked(stream=True))

        assert (client.status, problem(client)) == (500, "internal error")
        assert b"inner" not in client.body
        assert "request failed" in caplog.text
        assert house.bridge.in_flight == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_fault_of_the_house_in_an_interception_is_told_in_the_dialects_words(
    stream: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as house:
        steps: list[Step] = [*MESSAGES.events[: 3 if stream else 0], ZeroDivisionError()]
        house.upstream.answers.append(Scripted(steps, 200, (EVENT_STREAM if stream else JSON,)))
        client = await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=stream))

        assert client.ended
        assert client.status == (200 if stream else 500)
        assert client.header("x-aibridge-interception-id") == house.recorder.end.interception_id.encode()
        assert MESSAGES.is_error(client.body.removeprefix(b"".join(MESSAGES.events[:3]))) or not stream
        assert house.recorder.end.error_type == "internal_error"
        assert "ZeroDivisionError" in caplog.text


async def test_a_cancelled_request_is_over_and_on_record() -> None:
    async with opened() as house:
        house.holds(MESSAGES, 3)
        running = call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=True))
        await running.client.until(1)
        running.task.cancel()
        await asyncio.wait([running.task])

        assert running.task.cancelled()
        assert house.bridge.in_flight == 0
        assert house.recorder.end.state == "gateway_aborted"
        assert house.upstream.running == 0


async def test_a_cancelled_request_is_in_flight_until_its_end_is_durable() -> None:
    async with opened() as house:
        durable = asyncio.Event()
        house.recorder.slow["record_interception_ended"] = durable.wait  # type: ignore[assignment]  # its result is not read
        house.holds(MESSAGES, 3)
        running = call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=True))
        await running.client.until(1)
        running.task.cancel()
        await until(lambda: bool(house.recorder.kept.ends))
        for _ in range(3):
            await settled()
            assert house.bridge.in_flight == 1
            running.task.cancel()
        durable.set()
        await asyncio.wait([running.task], timeout=1)
        assert running.task.cancelled()
        assert house.bridge.in_flight == 0


# -- where it is mounted --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    [
        {"root_path": "/gateway", "path": "/gateway/anthropic/v1/messages"},
        {"root_path": "/a/b/", "path": "/a/b/anthropic/v1/messages"},
        {"root_path": "/gateway", "path": "/anthropic/v1/messages"},
        {"root_path": "", "path": "/anthropic/v1/messages", "raw_path": None},
        {"root_path": "", "path": "/anthropic/v1/messages", "raw_path": b"/anthropic/v1/messages?beta=true"},
    ],
)
async def test_it_finds_its_routes_below_a_root_path(where: dict[str, Any]) -> None:
    async with opened() as house:
        house.answers(MESSAGES)
        scope = {**scope_of(where["path"]), **({"raw_path": where["path"].encode()} | where)}
        client = await call(house.bridge, scope, MESSAGES.asked(stream=False)).done()

        assert client.status == 200
        assert house.upstream.requests[0].url == "http://anthropic.test/v1/messages"


async def test_two_bridges_in_one_process_never_meet() -> None:
    """Invariant 7: nothing is global."""
    async with opened() as first, opened(max_concurrency=1) as second:
        for house, actor in ((first, ADA), (second, BOB)):
            house.answers(RESPONSES)
            await asked(house.bridge, path_of(RESPONSES), RESPONSES.asked(stream=False), actor=actor)
        assert [started.initiator_id for started in first.recorder.kept.interceptions] == [ADA.id]
        assert [started.initiator_id for started in second.recorder.kept.interceptions] == [BOB.id]

        # What Ada stored through the first is nobody's at the second; the hashes of people differ too.
        follow_up = json.dumps({**RESPONSES.request, "previous_response_id": "resp_1"}).encode()
        assert (await asked(second.bridge, path_of(RESPONSES), follow_up, actor=ADA)).status == 404
        first.answers(RESPONSES)
        assert (await asked(first.bridge, path_of(RESPONSES), follow_up, actor=ADA)).status == 200
        long = Actor(id="x" * 300)
        named = []
        for house in (first, second):
            house.answers(CHAT)
            await asked(house.bridge, path_of(CHAT), CHAT.asked(stream=False), actor=long)
            named.append(house.recorder.kept.interceptions[-1].upstream_user)
        assert named[0] != named[1]

        second.bridge.start_draining()
        first.answers(CHAT)
        assert (await asked(first.bridge, path_of(CHAT), CHAT.asked(stream=False))).status == 200
        assert (await asked(second.bridge, path_of(CHAT), CHAT.asked(stream=False))).status == 503


async def test_a_setting_that_cannot_be_is_refused_when_the_bridge_is_made() -> None:
    twice = [providers.openai(key=KEY), providers.openai(key=KEY)]
    with pytest.raises(ValueError, match="given twice"):
        RequestBridge(providers=twice, recorder=ScriptedRecorder(Journal()))
    with pytest.raises(ValueError, match="prefix"):
        RequestBridge(providers=[], recorder=ScriptedRecorder(Journal()), prefixes=["no slash"])

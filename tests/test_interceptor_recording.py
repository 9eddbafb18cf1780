"""What an interception does when its record cannot be kept: at each step, under each policy."""

import asyncio
import json

import pytest

from aibridge.errors import RecordingFailed
from tests.exchanges import CHAT, EXCHANGES, MESSAGES, RESPONSES, Exchange
from tests.fakes.interceptions import ADA, BOB, Stage, stage
from tests.fakes.recorder import breaks, fails, hangs
from tests.waiting import settled, until

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
CONTENT = ["record_prompt_usage", "record_tool_usage", "record_model_thought"]
every_record = pytest.mark.parametrize(
    ("exchange", "step"),
    [
        pytest.param(exchange, step, id=f"{exchange.dialect}-{step}")
        for exchange in EXCHANGES
        for step in [*CONTENT, "record_token_usage"]
        if exchange.thought is not None or step != "record_model_thought"
    ],
)
SHORT = 0.05  # seconds


def play(scene: Stage, *, stream: bool) -> None:
    if stream:
        scene.streams()
    else:
        scene.answers()


def assert_served(scene: Stage, *, stream: bool) -> None:
    assert scene.client.status == 200
    assert scene.client.body == (scene.exchange.stream if stream else scene.exchange.body)
    assert scene.client.ended


def assert_withheld(scene: Stage, *, stream: bool) -> None:
    """The client has no whole answer, and was told why."""
    assert scene.client.ended
    if stream and scene.client.status == 200:
        *relayed, last = [event + b"\n\n" for event in scene.client.body.split(b"\n\n")[:-1]]
        assert scene.exchange.stream.startswith(b"".join(relayed))
        assert scene.exchange.events[-1] not in relayed
        assert scene.exchange.is_error(last)
        told = json.loads(last.split(b"data: ")[1])["error"]
    else:
        assert scene.client.status == 503
        told = json.loads(scene.client.body)["error"]
    assert told["message"] == "the record of this request could not be kept; the answer was withheld"


# -- the start ------------------------------------------------------------------------------------------


@every_dialect
@pytest.mark.parametrize("fail", ["closed", "usage-only"])
async def test_without_a_start_on_record_nothing_goes_upstream(exchange: Exchange, fail: str) -> None:
    scene = stage(exchange, fail=fail)
    scene.recorder.faults["record_interception"] = fails
    with pytest.raises(RecordingFailed):
        await scene.run()

    assert scene.upstream.requests == []
    assert len(scene.recorder.attempts) == 1  # it is not kept, and will not be: there is nothing to end
    assert scene.client.status is None


async def test_a_start_that_takes_too_long_is_ended_since_it_may_be_kept_all_the_same() -> None:
    scene = stage(MESSAGES, recording_deadline=SHORT)
    scene.recorder.slow["record_interception"] = hangs
    with pytest.raises(RecordingFailed):
        await scene.run()

    assert scene.upstream.requests == []
    end = scene.recorder.end
    assert (end.state, end.http_status, end.error_type) == ("gateway_aborted", 503, "recording_failed")


@pytest.mark.parametrize("fault", [fails, hangs])
@both_modes
async def test_an_open_policy_serves_without_a_start(fault: object, stream: bool) -> None:
    scene = stage(MESSAGES, fail="open", recording_deadline=SHORT)
    scene.recorder.faults["record_interception"] = fault  # type: ignore[assignment]  # one of the two above
    play(scene, stream=stream)
    await scene.run(stream=stream)

    assert_served(scene, stream=stream)
    assert scene.recorder.end.state == "completed"


# -- what comes in between ------------------------------------------------------------------------------


@every_record
@both_modes
async def test_a_closed_policy_withholds_an_answer_that_is_not_wholly_on_record(
    exchange: Exchange, stream: bool, step: str
) -> None:
    scene = stage(exchange)
    scene.recorder.faults[step] = fails
    play(scene, stream=stream)
    await scene.run(stream=stream)

    assert_withheld(scene, stream=stream)
    end = scene.recorder.end
    assert (end.state, end.error_type) == ("gateway_aborted", "recording_failed")
    assert end.http_status == scene.client.status
    # Everything that had come by then was tried, and nothing twice.
    names = [type(record).__name__ for record in scene.recorder.attempts]
    assert names.count("PromptUsageRecord") == 1
    came = scene.journal.of("provider").count("sent")
    assert names.count("TokenUsageRecord") == (0 if stream and exchange.usage[came] is None else 1)
    assert names[-1] == "InterceptionRecordEnded"


@every_dialect
@both_modes
@pytest.mark.parametrize("step", CONTENT)
@pytest.mark.parametrize("fail", ["usage-only", "open"])
async def test_lost_content_costs_no_answer_where_usage_is_what_matters(
    exchange: Exchange, stream: bool, step: str, fail: str
) -> None:
    scene = stage(exchange, fail=fail)
    scene.recorder.faults[step] = fails
    play(scene, stream=stream)
    await scene.run(stream=stream)

    assert_served(scene, stream=stream)
    assert scene.recorder.end.state == "completed"
    [used] = scene.recorder.kept.token_usages
    assert not used.partial


@every_dialect
@both_modes
async def test_lost_usage_costs_the_answer_unless_the_policy_is_open(exchange: Exchange, stream: bool) -> None:
    for fail in ("usage-only", "open"):
        scene = stage(exchange, fail=fail)
        scene.recorder.faults["record_token_usage"] = fails
        play(scene, stream=stream)
        await scene.run(stream=stream)

        if fail == "open":
            assert_served(scene, stream=stream)
        else:
            assert_withheld(scene, stream=stream)
        assert len(scene.recorder.kept.tool_usages) == len(scene.recorder.kept.prompts) == 1


@every_dialect
@both_modes
@pytest.mark.parametrize("who", ["client", "host"])
async def test_who_leaves_while_a_record_is_being_kept_loses_none(exchange: Exchange, stream: bool, who: str) -> None:
    """A recorder may take its time, and what follows in the same breath must not be forgotten: usage comes last."""
    scene = stage(exchange)
    play(scene, stream=stream)
    kept = asyncio.Event()
    scene.recorder.slow["record_tool_usage"] = kept.wait  # type: ignore[assignment]  # its result is not read
    task = scene.begin(stream=stream)
    await until(lambda: bool(scene.recorder.kept.tool_usages))
    if who == "client":
        scene.hang_up()
    else:
        task.cancel()
        await settled()
        del scene.recorder.slow["record_tool_usage"]
    kept.set()
    await asyncio.wait([task], timeout=2)

    assert task.done()
    assert len(scene.recorder.kept.tool_usages) == 1
    [used] = scene.recorder.kept.token_usages
    assert used.output_tokens == exchange.final.output
    assert scene.recorder.end.state == ("client_gone" if who == "client" else "gateway_aborted")


# -- the end --------------------------------------------------------------------------------------------


@every_dialect
@both_modes
@pytest.mark.parametrize("fault", [fails, hangs])
@pytest.mark.parametrize("fail", ["closed", "usage-only"])
async def test_an_end_that_is_not_kept_holds_the_last_bytes_back_for_good(
    exchange: Exchange, stream: bool, fault: object, fail: str
) -> None:
    scene = stage(exchange, fail=fail, recording_deadline=SHORT)
    scene.recorder.faults["record_interception_ended"] = fault  # type: ignore[assignment]  # one of the two above
    play(scene, stream=stream)
    await scene.run(stream=stream)

    assert_withheld(scene, stream=stream)
    assert scene.recorder.end.state == "completed"


@every_dialect
@both_modes
@pytest.mark.parametrize("fault", [fails, hangs])
async def test_an_open_policy_waits_for_the_end_and_then_serves(
    exchange: Exchange, stream: bool, fault: object
) -> None:
    scene = stage(exchange, fail="open", recording_deadline=SHORT)
    scene.recorder.faults["record_interception_ended"] = fault  # type: ignore[assignment]  # one of the two above
    play(scene, stream=stream)
    await scene.run(stream=stream)

    assert_served(scene, stream=stream)
    assert scene.recorder.end.state == "completed"


async def test_the_last_event_waits_five_seconds_for_its_record() -> None:
    assert Stage(MESSAGES, stage(MESSAGES).provider).recording_deadline == 5.0
    scene = stage(MESSAGES)
    scene.streams()
    scene.recorder.faults["record_interception_ended"] = hangs
    loop = asyncio.get_running_loop()
    began = loop.time()
    task = loop.create_task(scene.interception().run())
    await until(lambda: bool(scene.journal.of("recorder")[-1:] == ["tried record_interception_ended"]))
    [timer] = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]  # asyncio's
    assert 4.9 < timer.when() - began < 5.6
    task.cancel()
    await asyncio.wait([task], timeout=0)
    scene.recorder.faults.clear()


@both_modes
async def test_an_error_of_the_provider_that_is_not_on_record_is_withheld(stream: bool) -> None:
    for fail in ("closed", "open"):
        scene = stage(MESSAGES, fail=fail)
        scene.recorder.faults["record_interception_ended"] = fails
        scene.answers(b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}', status=529)
        await scene.run(stream=stream)

        assert scene.client.status == (503 if fail == "closed" else 529)


# -- a recorder with a fault of its own -----------------------------------------------------------------


@every_record
@both_modes
async def test_a_recorder_that_raises_what_it_must_not_still_gets_one_end(
    exchange: Exchange, stream: bool, step: str
) -> None:
    scene = stage(exchange)
    scene.recorder.faults[step] = breaks
    play(scene, stream=stream)
    with pytest.raises(ZeroDivisionError):
        await scene.run(stream=stream)

    end = scene.recorder.end
    assert (end.state, end.error_type) == ("gateway_aborted", "internal_error")
    assert scene.exchange.events[-1] not in scene.client.body
    assert scene.client.ended


@both_modes
async def test_a_start_or_an_end_that_raises_what_it_must_not_gives_no_answer(stream: bool) -> None:
    for step in ("record_interception", "record_interception_ended"):
        scene = stage(MESSAGES)
        scene.recorder.faults[step] = breaks
        play(scene, stream=stream)
        with pytest.raises(ZeroDivisionError):
            await scene.run(stream=stream)

        assert scene.recorder.end is not None
        assert len(scene.upstream.requests) == (step == "record_interception_ended")
        assert scene.exchange.events[-1] not in scene.client.body


# -- owners of what providers store ---------------------------------------------------------------------


@both_modes
async def test_a_stored_id_has_its_owner_before_the_client_sees_it(stream: bool) -> None:
    scene = stage(RESPONSES)
    play(scene, stream=stream)
    await scene.run(stream=stream)

    assert await scene.conversations.owner("openai", "resp_1") == ADA.id
    entries = scene.journal.entries
    first = next(number for number, (who, what) in enumerate(entries) if who == "conversations" and "resp_1" in what)
    assert first < entries.index(("client", "start"))


@both_modes
async def test_an_id_that_gets_no_owner_is_not_shown_and_the_usage_is_kept(stream: bool) -> None:
    for fail in ("closed", "open"):
        scene = stage(RESPONSES, fail=fail)
        scene.conversations.down = True
        play(scene, stream=stream)
        await scene.run(stream=stream)

        assert b"resp_1" not in scene.client.body
        assert scene.client.status == 503
        assert scene.recorder.end.error_type == "recording_failed"
        assert len(scene.recorder.kept.token_usages) == (0 if stream else 1)


@pytest.mark.parametrize(
    "reference",
    [
        {"previous_response_id": "resp_1"},
        {"conversation": "resp_1"},
        {"conversation": {"id": "resp_1"}},
        {"input": [{"type": "item_reference", "id": "resp_1"}]},
    ],
)
async def test_what_somebody_else_stored_is_not_found(reference: dict[str, object]) -> None:
    for owner in (BOB.id, None):
        scene = stage(RESPONSES)
        if owner is not None:
            await scene.conversations.own("openai", ["resp_1"], owner)
        await scene.run(body=json.dumps({**RESPONSES.request, **reference}).encode())

        assert scene.client.status == 404
        message = json.loads(scene.client.body)["error"]["message"]
        assert message == "no stored object with id 'resp_1' was found"
        assert scene.upstream.requests == []
        end = scene.recorder.end
        assert (end.state, end.http_status, end.error_type) == ("rejected", 404, "rejected")
        assert len(scene.recorder.kept.prompts) == ("input" not in reference)


async def test_what_the_actor_stored_goes_on_and_with_a_key_of_their_own_the_provider_decides() -> None:
    body = json.dumps({**RESPONSES.request, "previous_response_id": "resp_0"}).encode()
    for headers in ([], [(b"authorization", b"Bearer sk-own-0123456789")]):
        scene = stage(RESPONSES)
        if not headers:
            await scene.conversations.own("openai", ["resp_0"], ADA.id)
        scene.answers()
        await scene.run(body=body, headers=headers)

        assert scene.client.status == 200
        owned = await scene.conversations.owner("openai", "resp_1")
        assert owned == (None if headers else ADA.id)


async def test_owners_are_kept_apart_by_provider() -> None:
    scene = stage(RESPONSES, provider={"name": "openai-eu"})
    await scene.conversations.own("openai", ["resp_0"], ADA.id)
    await scene.run(body=json.dumps({**RESPONSES.request, "previous_response_id": "resp_0"}).encode())

    assert scene.client.status == 404


async def test_chat_completions_that_are_not_stored_get_no_owner() -> None:
    scene = stage(CHAT)
    scene.answers()
    await scene.run(stream=False)

    assert scene.journal.of("conversations") == []

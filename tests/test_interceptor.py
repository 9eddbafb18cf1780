"""The promises of one interception, kept between fakes at its ports: what happens before what, and what is recorded."""

import asyncio
import json

import pytest

from aibridge.errors import UpstreamReset
from tests.exchanges import EXCHANGES, MESSAGES, PROMPT, Exchange
from tests.fakes.interceptions import Stage, stage
from tests.waiting import settled, until

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])


def play(scene: Stage, *, stream: bool) -> None:
    if stream:
        scene.streams()
    else:
        scene.answers()


# -- what happens before what ---------------------------------------------------------------------------


@every_dialect
@both_modes
async def test_the_start_is_durable_before_the_provider_is_asked(exchange: Exchange, stream: bool) -> None:
    scene = stage(exchange)
    play(scene, stream=stream)
    durable = asyncio.Event()
    scene.recorder.slow["record_interception"] = durable.wait  # type: ignore[assignment]  # its result is not read
    task = scene.begin(stream=stream)
    await settled()

    assert len(scene.recorder.kept.interceptions) == 1
    assert scene.upstream.requests == []
    durable.set()
    await task
    assert scene.journal.place("recorder", "record_interception") < scene.journal.place("provider", "asked")


@every_dialect
@both_modes
async def test_the_end_is_durable_before_the_terminal_bytes(exchange: Exchange, stream: bool) -> None:
    scene = stage(exchange)
    play(scene, stream=stream)
    durable = asyncio.Event()
    scene.recorder.slow["record_interception_ended"] = durable.wait  # type: ignore[assignment]  # as above
    task = scene.begin(stream=stream)
    await until(lambda: bool(scene.recorder.kept.ends))
    await settled()

    before = scene.client.body
    assert before == b"".join(exchange.events[: exchange.visible[-1]] if stream else ())
    assert scene.journal.of("client")[-1:] != ["end"]
    durable.set()
    await task
    assert scene.client.ended
    assert scene.client.body == (exchange.stream if stream else exchange.body)
    # Tokens, tools and thoughts are accepted before the end is tried.
    assert scene.journal.of("recorder")[-1] == "record_interception_ended"


@every_dialect
@both_modes
async def test_a_whole_exchange_is_on_record_under_the_actors_name(exchange: Exchange, stream: bool) -> None:
    scene = stage(exchange)
    play(scene, stream=stream)
    await scene.run(stream=stream, headers=[(b"user-agent", b"claude-cli/2.0 (external)")])

    kept = scene.recorder.kept
    [started], [used], [prompt], [tool] = kept.interceptions, kept.token_usages, kept.prompts, kept.tool_usages
    assert (started.initiator_id, started.streaming, started.client) == ("user-ada", stream, "Claude Code")
    assert started.metadata == {"team": "engines", "username": "ada", "email": "ada@example.org"}
    assert (started.provider, started.provider_name, started.dialect) == (
        exchange.provider,
        exchange.provider,
        exchange.dialect,
    )
    assert (started.route, started.model) == (exchange.path, exchange.request["model"])
    assert (started.credential_kind, started.credential_hint) == ("centralized", "sk-c...cdef")
    assert (used.input_tokens, used.output_tokens, used.cache_read_tokens, used.partial) == (
        exchange.final.input,
        exchange.final.output,
        exchange.final.cache_read,
        False,
    )
    assert (prompt.prompt, prompt.provider_response_id) == (PROMPT, exchange.response_id)
    assert (tool.tool, tool.input, tool.injected) == ("weather", {"city": "Nantes"}, False)
    assert [(thought.content, thought.source) for thought in kept.thoughts] == [
        said for said in [exchange.thought] if said is not None
    ]
    assert {record.interception_id for record in (used, prompt, tool, scene.recorder.end)} == {started.id}
    end = scene.recorder.end
    assert (end.state, end.http_status, end.error_type, end.credential_hint) == ("completed", 200, None, "sk-c...cdef")
    assert scene.client.header("x-aibridge-interception-id") == started.id.encode()


@every_dialect
@both_modes
async def test_the_time_to_the_first_byte_is_that_of_the_body(exchange: Exchange, stream: bool) -> None:
    scene = stage(exchange)
    first, rest = asyncio.Event(), asyncio.Event()
    whole = exchange.stream if stream else exchange.body
    (scene.streams if stream else scene.answers)(first, whole[:200], rest, whole[200:])
    task = scene.begin(stream=stream)
    await until(lambda: bool(scene.upstream.running))
    scene.clock.passed = 0.25
    first.set()
    await until(lambda: ("provider", "sent") in scene.journal.entries)
    scene.clock.passed = 7.0
    rest.set()
    await task

    assert scene.recorder.end.time_to_first_byte == 0.25
    assert scene.recorder.end.ended_at == scene.clock.now()


# -- one end, whatever happens --------------------------------------------------------------------------


@every_dialect
@both_modes
async def test_a_client_that_hangs_up_at_any_await_leaves_one_end(exchange: Exchange, stream: bool) -> None:
    """Everything at the ports waits once for the loop, so that each turn of it is another place."""
    states = set()
    for place in range(150):
        scene = stage(exchange)
        play(scene, stream=stream)
        task = await scene.begun(place, stream=stream)
        all_came = scene.journal.of("provider").count("sent") == (len(exchange.events) if stream else 1)
        ended = bool(scene.recorder.kept.ends)
        scene.hang_up()
        await task

        state = scene.recorder.end.state
        states.add(state)
        assert state == "completed" if ended else state in ("client_gone", "completed"), place
        assert all_came or state == "client_gone", place
        assert scene.upstream.running == 0
        assert len(scene.recorder.kept.prompts) == 1
        if state == "completed":
            [used] = scene.recorder.kept.token_usages
            assert not used.partial
    assert states == {"client_gone", "completed"}


@every_dialect
@both_modes
async def test_a_host_that_cancels_at_any_await_leaves_one_end(exchange: Exchange, stream: bool) -> None:
    states = set()
    for place in range(150):
        scene = stage(exchange)
        play(scene, stream=stream)
        task = await scene.begun(place, stream=stream)
        begun = bool(scene.recorder.attempts)
        whole = task.done()
        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled() or whole, place
        if not begun:
            assert scene.recorder.attempts == []
            continue
        states.add(scene.recorder.end.state)
        assert scene.upstream.running == 0
        assert len(scene.recorder.kept.prompts) == 1
    assert states == {"gateway_aborted", "completed"}


@both_modes
async def test_a_host_that_cancels_again_and_again_leaves_one_end(stream: bool) -> None:
    """As anyio's cancel scopes do, until the task gives up."""
    for place in range(1, 60):
        scene = stage(MESSAGES)
        play(scene, stream=stream)
        task = await scene.begun(place, stream=stream)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)

        assert scene.recorder.end.state in ("gateway_aborted", "completed")
        assert len(scene.recorder.kept.ends) == 1, place


@every_dialect
@both_modes
async def test_a_gateway_that_ends_at_any_await_leaves_one_end_and_says_so(exchange: Exchange, stream: bool) -> None:
    for place in range(150):
        scene = stage(exchange)
        play(scene, stream=stream)
        task = await scene.begun(place, stream=stream)
        scene.interruption.interrupt("gateway_aborted")
        await task

        end = scene.recorder.end
        assert scene.client.ended
        if end.state == "completed":
            assert scene.client.body == (exchange.stream if stream else exchange.body)
            continue
        assert end.state == "gateway_aborted", place
        assert end.http_status == scene.client.status
        if scene.client.status == 200:
            *relayed, last = [event + b"\n\n" for event in scene.client.body.split(b"\n\n")[:-1]]
            assert exchange.stream.startswith(b"".join(relayed))
            assert exchange.is_error(last)
        else:
            assert scene.client.status == 503
            assert "error" in json.loads(scene.client.body)


@every_dialect
async def test_the_prompt_of_a_stream_is_kept_with_its_beginning_not_with_its_end(exchange: Exchange) -> None:
    scene = stage(exchange)
    goes_on = asyncio.Event()
    count = next(count for count in range(1, len(exchange.events)) if exchange.visible[count])
    scene.streams(*exchange.events[:count], goes_on, *exchange.events[count:])
    task = scene.begin()
    await scene.client.until(sum(map(len, exchange.events[: exchange.visible[count]])))
    await settled()

    [prompt] = scene.recorder.kept.prompts
    assert (prompt.prompt, prompt.provider_response_id) == (PROMPT, exchange.response_id)
    assert not scene.recorder.kept.token_usages
    goes_on.set()
    await task
    assert scene.recorder.kept.prompts == [prompt]


@every_dialect
@pytest.mark.parametrize("gate", range(16))
async def test_a_client_that_hangs_up_after_any_event_has_what_is_known_on_record(
    exchange: Exchange, gate: int
) -> None:
    count = min(gate, len(exchange.events) - 1)
    scene = stage(exchange)
    scene.streams(*exchange.events[:count], asyncio.Event())
    task = scene.begin()
    await scene.client.until(sum(map(len, exchange.events[: exchange.visible[count]])))
    await until(lambda: scene.journal.of("provider").count("sent") == count)
    await settled()
    scene.hang_up()
    await task

    end = scene.recorder.end
    assert (end.state, end.error_type) == ("client_gone", "client_gone")
    assert end.http_status == (200 if count else None)
    known, usages = exchange.usage[count], scene.recorder.kept.token_usages
    if known is None:
        assert usages == []
    else:
        [used] = usages
        assert (used.input_tokens, used.output_tokens, used.cache_read_tokens, used.partial) == (
            known.input,
            known.output,
            known.cache_read,
            known.partial,
        )
    assert len(scene.recorder.kept.prompts) == 1
    assert not scene.client.ended
    assert scene.upstream.cut == 1


async def test_an_upstream_that_breaks_off_says_so_and_keeps_the_usage() -> None:
    scene = stage(MESSAGES)
    scene.streams(*MESSAGES.events[:8], UpstreamReset("the provider's answer broke off"))
    await scene.run()

    end = scene.recorder.end
    assert (end.state, end.http_status, end.error_type) == ("upstream_error", 200, "connection_error")
    [used] = scene.recorder.kept.token_usages
    assert used.partial
    last = scene.client.body.removeprefix(b"".join(MESSAGES.events[:8]))
    assert MESSAGES.is_error(last)
    assert json.loads(last.split(b"data: ")[1])["error"]["message"] == "the provider's answer broke off"
    assert scene.client.ended

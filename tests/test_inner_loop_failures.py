"""What goes wrong in an inner loop, between fakes at the ports: one reply, a result for every call, and all on record."""

import asyncio
from typing import Any

import pytest

from aibridge.errors import UpstreamReset
from aibridge.tool_settings import ToolSettings
from aibridge.tools import Text, ToolCall, ToolResult
from tests.exchanges import EXCHANGES, Exchange, last_event
from tests.fakes.interceptions import Stage
from tests.fakes.toolbox import breaks, fails, hangs, result_of
from tests.fakes.turns import Call, Says, results_in
from tests.test_inner_loop import DONE, LOOK, bodies, play, set_up
from tests.waiting import settled, until

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])


def errors(scene: Stage) -> list[str | None]:
    return [use.invocation_error for use in scene.recorder.kept.tool_usages if use.injected]


# -- tools ---------------------------------------------------------------------------------------------


@every_dialect
@both_modes
@pytest.mark.parametrize(
    ("does", "call", "told", "error"),
    [
        (fails, Call("call_1"), "no such page", "isError"),
        (breaks, Call("call_1"), "The tool failed.", "The tool failed."),
        (None, Call("call_1", "bmcp_gone"), "There is no tool bmcp_gone.", "There is no tool bmcp_gone."),
    ],
)
async def test_a_call_that_fails_has_a_result_that_says_so_and_the_loop_goes_on(
    exchange: Exchange, stream: bool, does: Any, call: Call, told: str, error: str
) -> None:
    scene, toolbox = set_up(exchange, Says(1, "", (call,)), DONE, stream=stream)
    if does is not None:
        toolbox.does["search"] = does
    await scene.run(stream=stream)

    assert told in results_in(exchange.dialect, bodies(scene)[1])["call_1"]
    assert errors(scene) == [error]
    assert scene.recorder.end.state == "completed"
    assert b"bmcp_" not in scene.client.body


@every_dialect
@both_modes
async def test_a_call_that_takes_too_long_is_given_up(exchange: Exchange, stream: bool) -> None:
    calls = (Call("call_1"), Call("call_2", "bmcp_wiki_read"))
    tools = ToolSettings(call_timeout=0.01)
    scene, toolbox = set_up(exchange, Says(1, "", calls), DONE, stream=stream, tools=tools)
    toolbox.does["search"] = hangs
    await scene.run(stream=stream)

    found = results_in(exchange.dialect, bodies(scene)[1])
    assert "did not answer within 0.01 s" in found["call_1"]
    assert "result of call_2" in found["call_2"]
    assert errors(scene) == ["The tool did not answer within 0.01 s.", None]
    assert toolbox.running == 0


@pytest.mark.parametrize("exchange", EXCHANGES[1:], ids=["chat_completions", "responses"])
@both_modes
async def test_a_call_whose_arguments_are_no_json_is_not_run(exchange: Exchange, stream: bool) -> None:
    scene, toolbox = set_up(exchange, Says(1, "", (Call("call_1", arguments='{"q": '),)), DONE, stream=stream)
    await scene.run(stream=stream)

    assert toolbox.calls == []
    [used] = scene.recorder.kept.tool_usages
    assert used.input == '{"q": '
    assert used.invocation_error is not None
    assert "not valid JSON" in used.invocation_error
    assert "not valid JSON" in results_in(exchange.dialect, bodies(scene)[1])["call_1"]


@every_dialect
@both_modes
async def test_calls_of_a_turn_that_was_cut_short_are_on_record_and_not_run(exchange: Exchange, stream: bool) -> None:
    cut = Says(1, "I look it", (Call("call_1"),), cut_short=True)
    scene, toolbox = set_up(exchange, cut, stream=stream)
    await scene.run(stream=stream)

    assert toolbox.calls == []
    assert len(scene.upstream.requests) == 1
    [error] = errors(scene)
    assert error
    assert scene.recorder.end.state == "completed"
    assert b"call_1" not in scene.client.body


@every_dialect
async def test_a_huge_result_is_cut_with_a_marker(exchange: Exchange) -> None:
    async def says_much(call: ToolCall) -> ToolResult:
        return result_of(call, "\u20ac" * (50 * 1024 * 1024 // 3))

    scene, toolbox = set_up(exchange, LOOK, DONE, stream=False)
    toolbox.does["search"] = says_much
    await scene.run(stream=False)

    second = bodies(scene)[1]
    assert len(second) < 2 * 256 * 1024  # escaped, a letter takes twice as much
    assert "cut here: the result is larger than the 262144 bytes" in results_in(exchange.dialect, second)["call_1"]
    assert errors(scene) == [None]


# -- limits --------------------------------------------------------------------------------------------


@every_dialect
@both_modes
async def test_a_loop_without_end_is_ended_by_one_last_request_without_tools(exchange: Exchange, stream: bool) -> None:
    turns = [
        Says(number, f"{number}. ", (Call(f"call_{number}", arguments={"q": f"{number}"}),)) for number in (1, 2, 3)
    ]
    scene, toolbox = set_up(exchange, *turns, Says(4, "Enough."), stream=stream, tools=ToolSettings(max_turns=3))
    await scene.run(stream=stream)

    assert [call.call_id for _, call in toolbox.calls] == ["call_1", "call_2"]
    last = bodies(scene)[3]
    assert "the limit of 3 rounds of tool calls is reached" in results_in(exchange.dialect, last)["call_3"]
    assert b'"tool_choice":{"type":"none"}' in last.replace(b" ", b"") or b'"tool_choice":"none"' in last.replace(
        b" ", b""
    )
    assert errors(scene)[:2] == [None, None]
    assert "limit of 3 rounds" in str(errors(scene)[2])
    assert scene.recorder.end.state == "completed"
    assert len(scene.recorder.kept.token_usages) == 4


@every_dialect
@both_modes
async def test_a_model_that_calls_on_after_the_limit_is_not_asked_again(exchange: Exchange, stream: bool) -> None:
    turns = [Says(number, f"{number}. ", (Call(f"call_{number}", arguments={"q": f"{number}"}),)) for number in (1, 2)]
    scene, toolbox = set_up(exchange, *turns, stream=stream, tools=ToolSettings(max_turns=1))
    await scene.run(stream=stream)

    assert toolbox.calls == []
    assert len(scene.upstream.requests) == 2
    assert [error is not None for error in errors(scene)] == [True, True]
    assert scene.recorder.end.state == "completed"
    assert b"bmcp_" not in scene.client.body


@every_dialect
@both_modes
async def test_the_same_call_over_and_over_ends_the_loop(exchange: Exchange, stream: bool) -> None:
    spellings: list[dict[str, Any]] = [{"q": "x", "n": 1}, {"n": 1, "q": "x"}, {"q": "x", "n": 1}]
    turns = [Says(n, "", (Call(f"call_{n}", arguments=spelled),)) for n, spelled in enumerate(spellings, 1)]
    scene, toolbox = set_up(exchange, *turns, DONE, stream=stream)
    await scene.run(stream=stream)

    assert [call.call_id for _, call in toolbox.calls] == ["call_1", "call_2"]
    assert "3 times in a row" in results_in(exchange.dialect, bodies(scene)[3])["call_3"]


async def test_the_same_call_with_another_between_is_no_repetition() -> None:
    exchange = EXCHANGES[0]
    queries = ["x", "x", "y", "x", "x"]
    turns = [Says(n, "", (Call(f"call_{n}", arguments={"q": query}),)) for n, query in enumerate(queries, 1)]
    scene, toolbox = set_up(exchange, *turns, Says(6, "Done."), stream=True)
    await scene.run(stream=True)

    assert len(toolbox.calls) == 5


@every_dialect
@both_modes
async def test_past_the_time_the_reply_ends_with_an_error_in_the_dialects_words(
    exchange: Exchange, stream: bool
) -> None:
    scene, toolbox = set_up(exchange, LOOK, stream=stream)

    async def takes_its_time(call: ToolCall) -> ToolResult:
        scene.clock.passed = 700
        return result_of(call)

    toolbox.does["search"] = takes_its_time
    await scene.run(stream=stream)

    end = scene.recorder.end
    assert (end.state, end.error_type) == ("gateway_aborted", "tool_time_limit")
    assert b"calling tools took longer than the 600 s" in scene.client.body
    if stream:
        assert exchange.is_error(last_event(scene.client.body))
    else:
        assert scene.client.status == 504
    assert errors(scene) == [None]
    assert len(scene.upstream.requests) == 1


# -- the provider, in a later turn ----------------------------------------------------------------------


@every_dialect
async def test_a_later_turns_error_is_relayed_as_it_came_where_nothing_was_sent(exchange: Exchange) -> None:
    scene, _ = set_up(exchange, LOOK, stream=False)
    refusal = b'{"error": {"type": "rate_limit_error", "message": "slow down", "x": 1.0}}'
    scene.answers(refusal, status=429, headers=[(b"retry-after", b"7")])
    await scene.run(stream=False)

    assert (scene.client.status, scene.client.body) == (429, refusal)
    assert scene.client.header("retry-after") == b"7"
    assert (scene.recorder.end.state, scene.recorder.end.http_status) == ("upstream_error", 429)
    assert errors(scene) == [None]


@every_dialect
async def test_a_later_turns_error_becomes_an_event_of_the_stream(exchange: Exchange) -> None:
    scene, _ = set_up(exchange, LOOK, stream=True)
    scene.answers(b'{"error": {"type": "rate_limit_error", "message": "slow down"}}', status=429)
    await scene.run(stream=True)

    event = last_event(scene.client.body)
    assert exchange.is_error(event)
    assert b"slow down" in event
    assert (scene.recorder.end.state, scene.recorder.end.error_type) == ("upstream_error", "rate_limit_error")


@every_dialect
@both_modes
async def test_a_later_turn_that_breaks_off_ends_the_reply_as_the_first_would(exchange: Exchange, stream: bool) -> None:
    scene, _ = set_up(exchange, LOOK, stream=stream)
    whole = DONE.stream(exchange.dialect) if stream else DONE.body(exchange.dialect)
    (scene.streams if stream else scene.answers)(whole[: len(whole) // 2], UpstreamReset("the connection broke"))
    await scene.run(stream=stream)

    assert scene.recorder.end.state == "upstream_error"
    if stream:
        assert exchange.is_error(last_event(scene.client.body))
    else:
        assert scene.client.status == 502
    assert errors(scene) == [None]


@every_dialect
async def test_a_later_turn_in_another_form_ends_the_reply_with_an_error(exchange: Exchange) -> None:
    scene, _ = set_up(exchange, LOOK, stream=True)
    play(scene, DONE, stream=False)
    await scene.run(stream=True)

    assert scene.recorder.end.state == "upstream_error"
    assert exchange.is_error(last_event(scene.client.body))


# -- the store -----------------------------------------------------------------------------------------


@every_dialect
@both_modes
async def test_a_reply_whose_hidden_turns_cannot_be_held_ends_with_an_error(exchange: Exchange, stream: bool) -> None:
    scene, toolbox = set_up(exchange, LOOK, DONE, stream=stream)
    toolbox.does["search"] = lambda call: lets_fail(scene, call)
    await scene.run(stream=stream)

    assert scene.recorder.end.state == "gateway_aborted"
    assert len(scene.upstream.requests) == 1
    if stream:
        assert exchange.is_error(last_event(scene.client.body))
    else:
        assert scene.client.status == 503
    assert errors(scene) == [None]


async def lets_fail(scene: Stage, call: ToolCall) -> ToolResult:
    scene.conversations.down = True
    return result_of(call)


# -- whoever leaves ------------------------------------------------------------------------------------


@every_dialect
@both_modes
async def test_a_client_that_hangs_up_while_tools_run_leaves_every_call_on_record(
    exchange: Exchange, stream: bool
) -> None:
    calls = (Call("call_1", "bmcp_wiki_read"), Call("call_2"))
    scene, toolbox = set_up(exchange, Says(1, "", calls), stream=stream)
    toolbox.does["search"] = hangs
    task = scene.begin(stream=stream)
    await until(lambda: toolbox.running == 1 and len(toolbox.calls) == 2)
    scene.hang_up()
    await task

    assert toolbox.running == 0
    assert scene.recorder.end.state == "client_gone"
    assert errors(scene) == [None, "the client hung up"]
    assert [use.tool for use in scene.recorder.kept.tool_usages] == ["read", "search"]


@every_dialect
@both_modes
async def test_a_shutdown_while_tools_run_ends_the_reply_with_an_error(exchange: Exchange, stream: bool) -> None:
    scene, toolbox = set_up(exchange, LOOK, stream=stream)
    toolbox.does["search"] = hangs
    task = scene.begin(stream=stream)
    await until(lambda: toolbox.running == 1)
    scene.interruption.interrupt("gateway_aborted")
    await task

    assert scene.recorder.end.state == "gateway_aborted"
    assert errors(scene) == ["the gateway ended this request"]
    if stream:
        assert exchange.is_error(last_event(scene.client.body))
    else:
        assert scene.client.status == 503


@every_dialect
@both_modes
async def test_a_host_that_cancels_while_tools_run_leaves_every_call_on_record(
    exchange: Exchange, stream: bool
) -> None:
    scene, toolbox = set_up(exchange, LOOK, stream=stream)
    toolbox.does["search"] = hangs
    task = scene.begin(stream=stream)
    await until(lambda: toolbox.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert scene.recorder.end.state == "gateway_aborted"
    assert errors(scene) == ["the request was cancelled"]
    assert toolbox.running == 0


@every_dialect
@both_modes
async def test_a_client_that_hangs_up_anywhere_in_a_loop_leaves_one_end_and_each_call_once(
    exchange: Exchange, stream: bool
) -> None:
    """Everything at the ports waits once for the loop, so that each turn of it is another place."""
    states = set()
    for place in range(120):
        scene, toolbox = set_up(exchange, LOOK, DONE, stream=stream)
        task = await scene.begun(place, stream=stream)
        scene.hang_up()
        await task
        states.add(scene.recorder.end.state)

        kept = scene.recorder.kept
        assert toolbox.running == 0
        turns = [usage.provider_response_id for usage in kept.token_usages]
        assert len(turns) == len(set(turns))
        is_whole = bool(turns) and not kept.token_usages[0].partial  # the first turn came to its end
        assert len(errors(scene)) == 1 if is_whole else len(errors(scene)) <= 1
        if len(scene.upstream.requests) == 2:
            assert ("conversations", "held") in scene.journal.entries
    assert states == {"client_gone", "completed"}


@every_dialect
async def test_a_client_that_is_read_on_for_is_not_asked_for_again(exchange: Exchange) -> None:
    """`on_disconnect = "drain"`: the turn is read to its end for exact usage, and then nothing more is spent."""
    scene, toolbox = set_up(exchange, stream=True)
    whole, rest = LOOK.stream(exchange.dialect), asyncio.Event()
    scene.streams(whole[:100], rest, whole[100:])
    task = scene.begin(stream=True)
    await until(lambda: bool(scene.upstream.running))
    await settled()
    scene.writer.abandon()
    rest.set()
    await task

    assert toolbox.calls == []
    assert scene.recorder.end.state == "client_gone"
    assert errors(scene) == ["the client hung up"]
    [usage] = scene.recorder.kept.token_usages
    assert not usage.partial


@every_dialect
@both_modes
async def test_a_client_that_leaves_while_tools_run_ends_them_also_where_it_would_be_read_on_for(
    exchange: Exchange, stream: bool
) -> None:
    scene, toolbox = set_up(exchange, LOOK, stream=stream)
    toolbox.does["search"] = hangs
    task = scene.begin(stream=stream)
    await until(lambda: toolbox.running == 1)
    scene.writer.abandon()  # and nobody interrupts
    await task

    assert toolbox.running == 0
    assert scene.recorder.end.state == "client_gone"
    assert errors(scene) == ["the client hung up"]


async def test_results_of_many_parts_stay_within_the_limit() -> None:
    async def says_much(call: ToolCall) -> ToolResult:
        return ToolResult(call_id="other", content=tuple(Text("x" * 100) for _ in range(10_000)))

    exchange = EXCHANGES[0]
    scene, toolbox = set_up(exchange, LOOK, DONE, stream=False, tools=ToolSettings(max_result=1000))
    toolbox.does["search"] = says_much
    await scene.run(stream=False)

    found = results_in(exchange.dialect, bodies(scene)[1])["call_1"]
    assert found.count("x") == 1000 + found.count('"text"')  # ten parts, and the word itself

"""The inner loop between fakes at the ports, in every dialect and both modes: what runs, what is told, what is on record."""

import json
from typing import Any

import pytest

from tests.exchanges import EXCHANGES, Exchange
from tests.fakes.interceptions import ADA, Stage, stage
from tests.fakes.toolbox import WIKI, ScriptedToolbox, fails
from tests.fakes.turns import Call, Says, offered_in, results_in

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])

LOOK = Says(1, "I look it up. ", (Call("call_1"),))
DONE = Says(2, "It rains.")


def set_up(exchange: Exchange, *turns: Says, stream: bool, **options: Any) -> tuple[Stage, ScriptedToolbox]:
    toolbox = ScriptedToolbox()
    scene = stage(exchange, toolbox=toolbox, **options)
    for turn in turns:
        play(scene, turn, stream=stream)
    return scene, toolbox


def play(scene: Stage, turn: Says, *, stream: bool) -> None:
    if stream:
        scene.streams(turn.stream(scene.exchange.dialect))
    else:
        scene.answers(turn.body(scene.exchange.dialect))


def bodies(scene: Stage) -> list[bytes]:
    return [request.body for request in scene.upstream.requests]


# -- one loop ------------------------------------------------------------------------------------------


@every_dialect
@both_modes
async def test_a_tool_is_run_and_the_client_sees_one_reply(exchange: Exchange, stream: bool) -> None:
    scene, toolbox = set_up(exchange, LOOK, DONE, stream=stream)
    await scene.run(stream=stream)

    assert [(actor, call.call_id, call.tool_id) for actor, call in toolbox.calls] == [
        (ADA.id, "call_1", "bmcp_wiki_search")
    ]
    first, second = bodies(scene)
    assert {"bmcp_wiki_read", "bmcp_wiki_search"} <= set(offered_in(exchange.dialect, first))
    assert offered_in(exchange.dialect, second) == offered_in(exchange.dialect, first)
    assert results_in(exchange.dialect, second) == {"call_1": '[{"type": "text", "text": "result of call_1"}]'} or (
        results_in(exchange.dialect, second) == {"call_1": "result of call_1"}
    )
    assert b"bmcp_" not in scene.client.body
    assert b"I look it up. " in scene.client.body or stream
    assert b"It rains." in scene.client.body or stream
    assert scene.recorder.end.state == "completed"
    assert scene.client.ended


@every_dialect
@both_modes
async def test_each_turn_and_each_call_is_on_record(exchange: Exchange, stream: bool) -> None:
    scene, _ = set_up(exchange, LOOK, DONE, stream=stream)
    await scene.run(stream=stream)

    kept = scene.recorder.kept
    assert len(kept.interceptions) == 1
    assert [usage.provider_response_id for usage in kept.token_usages] == [
        LOOK.id(exchange.dialect),
        DONE.id(exchange.dialect),
    ]
    [used] = kept.tool_usages
    assert (used.tool, used.tool_call_id, used.input) == ("search", "call_1", {"q": "x"})
    assert (used.injected, used.server_url, used.invocation_error) == (True, WIKI, None)
    assert used.provider_response_id == LOOK.id(exchange.dialect)
    assert [prompt.provider_response_id for prompt in kept.prompts] == [LOOK.id(exchange.dialect)]


async def test_of_each_tool_that_ran_a_line_is_logged_without_what_was_said(caplog: pytest.LogCaptureFixture) -> None:
    exchange, calls = EXCHANGES[0], (Call("call_1"), Call("call_2", "bmcp_wiki_read"), Call("call_3", "bmcp_gone"))
    scene, toolbox = set_up(exchange, Says(1, "", calls), DONE, stream=False)
    toolbox.does["read"] = fails
    with caplog.at_level("DEBUG", "aibridge.interceptions"):
        await scene.run(stream=False)

    lines = [vars(line) for line in caplog.records if line.getMessage() == "injected tool ran"]
    assert [(line["server"], line["tool"], line["failed"]) for line in lines] == [
        ("wiki", "search", False),
        ("wiki", "read", True),
    ]
    assert {line["interception_id"] for line in lines} == {scene.recorder.end.interception_id}
    assert "no such page" not in caplog.text


@every_dialect
@both_modes
async def test_what_was_hidden_is_durable_before_the_next_turn_and_before_the_end(
    exchange: Exchange, stream: bool
) -> None:
    scene, _ = set_up(exchange, LOOK, DONE, stream=stream)
    await scene.run(stream=stream)

    story = [entry for entry in scene.journal.entries if entry[1] in ("asked", "held", "record_tool_usage", "end")]
    told = [f"{who} {what}" for who, what in story]
    assert told[:4] == ["provider asked", "recorder record_tool_usage", "conversations held", "provider asked"]
    assert told[-1] == "client end"
    assert set(told[4:-1]) <= {"conversations held"}


@every_dialect
@both_modes
async def test_calls_of_one_turn_run_at_once_also_of_the_same_tool(exchange: Exchange, stream: bool) -> None:
    calls = (Call("call_1"), Call("call_2"), Call("call_3", "bmcp_wiki_read"))
    scene, toolbox = set_up(exchange, Says(1, "", calls), DONE, stream=stream)
    await scene.run(stream=stream)

    assert toolbox.most_running == 3
    found = results_in(exchange.dialect, bodies(scene)[1])
    assert {name: f"result of {name}" in text for name, text in found.items()} == dict.fromkeys(
        ("call_1", "call_2", "call_3"), True
    )
    assert [use.tool_call_id for use in scene.recorder.kept.tool_usages] == ["call_1", "call_2", "call_3"]


@every_dialect
@both_modes
async def test_in_a_mixed_turn_ours_run_and_the_client_sees_its_own(exchange: Exchange, stream: bool) -> None:
    mixed = Says(1, "Both. ", (Call("call_1"), Call("call_2", "weather", {"city": "Nantes"})))
    scene, toolbox = set_up(exchange, mixed, stream=stream)
    await scene.run(stream=stream)

    assert len(scene.upstream.requests) == 1
    assert [call.call_id for _, call in toolbox.calls] == ["call_1"]
    assert b"call_2" in scene.client.body
    assert b"call_1" not in scene.client.body
    assert [(use.tool, use.injected) for use in scene.recorder.kept.tool_usages] == [
        ("weather", False),
        ("search", True),
    ]
    assert ("conversations", "held") in scene.journal.entries
    assert scene.recorder.end.state == "completed"


@every_dialect
@both_modes
async def test_a_later_request_carries_what_its_client_never_saw(exchange: Exchange, stream: bool) -> None:
    mixed = Says(1, "Both. ", (Call("call_1"), Call("call_2", "weather", {"city": "Nantes"})))
    scene, _ = set_up(exchange, mixed, stream=stream)
    await scene.run(stream=stream)
    later, _ = set_up(exchange, DONE, stream=stream)
    later.conversations = scene.conversations
    await later.run(stream=stream, body=answered_by_client(exchange, stream=stream))

    found = results_in(exchange.dialect, bodies(later)[0])
    assert "result of call_1" in found["call_1"]
    assert "sunny" in found["call_2"]


@every_dialect
async def test_also_a_bridge_that_offers_no_tools_any_more_gives_hidden_turns_back(exchange: Exchange) -> None:
    mixed = Says(1, "Both. ", (Call("call_1"), Call("call_2", "weather", {"city": "Nantes"})))
    scene, _ = set_up(exchange, mixed, stream=False)
    await scene.run(stream=False)
    later = stage(exchange)
    later.conversations = scene.conversations
    again = Says(2, "", (Call("call_9"),)) if exchange.dialect == "messages" else DONE
    for turn in (again, Says(3, "Fine."))[: 2 if again is not DONE else 1]:
        play(later, turn, stream=False)
    await later.run(stream=False, body=answered_by_client(exchange, stream=False))

    assert "result of call_1" in results_in(exchange.dialect, bodies(later)[0])["call_1"]
    assert not any(name.startswith("bmcp_") for name in offered_in(exchange.dialect, bodies(later)[0]))
    assert later.recorder.end.state == "completed"
    if again is not DONE:  # the model remembers a tool that is gone
        assert "no tool bmcp_wiki_search" in results_in(exchange.dialect, bodies(later)[1])["call_9"]


def answered_by_client(exchange: Exchange, *, stream: bool) -> bytes:
    """What the client sends after the mixed turn: what it saw of it, and the result of its own tool."""
    request: dict[str, Any] = {**exchange.request, "stream": stream}
    arguments = {"city": "Nantes"}
    match exchange.dialect:
        case "messages":
            call: Any = {"type": "tool_use", "id": "call_2", "name": "weather", "input": arguments}
            said: list[Any] = [{"role": "assistant", "content": [{"type": "text", "text": "Both. "}, call]}]
            result = {"type": "tool_result", "tool_use_id": "call_2", "content": "sunny"}
            said.append({"role": "user", "content": [result]})
            request["messages"] = [*request["messages"], *said]
        case "chat_completions":
            function = {"name": "weather", "arguments": json.dumps(arguments)}
            call = {"id": "call_2", "type": "function", "function": function}
            said = [{"role": "assistant", "content": "Both. ", "tool_calls": [call]}]
            said.append({"role": "tool", "tool_call_id": "call_2", "content": "sunny"})
            request["messages"] = [*request["messages"], *said]
        case "responses":
            call = {"type": "function_call", "call_id": "call_2", "name": "weather", "arguments": json.dumps(arguments)}
            part = {"type": "output_text", "text": "Both. ", "annotations": []}
            asked = request["input"]
            before = asked if isinstance(asked, list) else [{"role": "user", "content": asked}]
            message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
            result = {"type": "function_call_output", "call_id": "call_2", "output": "sunny"}
            request["input"] = [*before, message, {**call, "id": "fc_call_2", "status": "completed"}, result]
    return json.dumps(request).encode()

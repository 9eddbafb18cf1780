"""Whatever turns a reply is made of, its client has one message that the provider's own SDK reads, and nothing of ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from anthropic.types import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from aibridge.dialects.base import Thought, TokenUsage, ToolUse
from aibridge.dialects.messages.request import parse
from tests.dialects.messages.loops import TOOLS, Block, Played, Scripted, content_of, play
from tests.dialects.messages.scripts import is_ours, scripts
from tests.dialects.sdks import anthropic_reading
from tests.strategies.chunks import chunkings
from tests.wire.plain_sse import events_of

_REQUEST = parse(b'{"model":"m","messages":[{"role":"user","content":"go"}]}').offering(TOOLS)


def _visible(script: Sequence[Scripted]) -> list[Block]:
    return [block for turn in script for block in turn.content if not is_ours(block)]


@settings(max_examples=50)
@given(scripts(), st.data())
def test_the_sdk_makes_one_message_of_the_stream(script: list[Scripted], data: st.DataObject) -> None:
    played = play(_REQUEST, script, stream=True, chunks=lambda sent: data.draw(chunkings(sent)))

    message = _accumulated(played.received)

    assert [block.to_dict() for block in message.content] == _visible(script)
    assert message.id == script[0].id
    assert message.stop_reason == _stop_reason(script[-1])
    assert message.usage.output_tokens == sum(turn.usage["output_tokens"] for turn in script)
    assert message.usage.input_tokens == script[-1].usage["input_tokens"]


@given(scripts(), st.data())
def test_a_stream_of_many_turns_is_well_formed_whatever_the_chunks(script: list[Scripted], data: st.DataObject) -> None:
    whole = play(_REQUEST, script, stream=True)
    played = play(_REQUEST, script, stream=True, chunks=lambda sent: data.draw(chunkings(sent)))

    events = [json.loads(sent) for _, sent in events_of(played.received)]
    assert played == whole
    assert b"bmcp_" not in played.received
    kinds = [event["type"] for event in events if event["type"] != "ping"]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert all(kinds.count(one) == 1 for one in ("message_start", "message_delta", "message_stop"))
    starts = [event["index"] for event in events if event["type"] == "content_block_start"]
    assert starts == list(range(len(_visible(script))))
    _check_facts(played, script)


@given(scripts(), st.data())
def test_a_blocking_answer_of_many_turns_says_the_same(script: list[Scripted], data: st.DataObject) -> None:
    played = play(_REQUEST, script, stream=False, chunks=lambda sent: data.draw(chunkings(sent)))

    message = Message.model_validate_json(played.received)
    assert content_of(played.received, stream=False) == _visible(script)
    assert b"bmcp_" not in played.received
    assert message.stop_reason == _stop_reason(script[-1])
    assert message.usage.output_tokens == sum(turn.usage["output_tokens"] for turn in script)
    assert message.usage.input_tokens == script[-1].usage["input_tokens"]
    _check_facts(played, script)


@given(scripts())
def test_streams_and_blocking_answers_ask_the_provider_the_same(script: list[Scripted]) -> None:
    streamed, blocking = (play(_REQUEST, script, stream=stream) for stream in (True, False))

    assert streamed.bodies == blocking.bodies
    assert [turn.calls for turn in streamed.turns] == [turn.calls for turn in blocking.turns]
    assert (streamed.hidden is None) == (blocking.hidden is None)
    if streamed.hidden is not None and blocking.hidden is not None:
        assert streamed.hidden.anchors == blocking.hidden.anchors


@given(scripts(hidden=0, endings=("answer", "client_calls")), st.booleans(), st.data())
def test_where_nothing_of_ours_is_called_every_byte_is_the_providers(
    script: list[Scripted], stream: bool, data: st.DataObject
) -> None:
    played = play(_REQUEST, script, stream=stream, chunks=lambda sent: data.draw(chunkings(sent)))

    assert played.received == (script[0].stream() if stream else script[0].body())


def _stop_reason(last: Scripted) -> str:
    theirs = any(block["type"] == "tool_use" and not is_ours(block) for block in last.content)
    return "end_turn" if last.stop_reason == "tool_use" and not theirs else last.stop_reason


def _check_facts(played: Played, script: Sequence[Scripted]) -> None:
    """Each turn's tokens, each call that is not ours, each thought; and each call of ours for the interceptor."""
    hosted = ("tool_use", "server_tool_use")
    uses = [fact for fact in played.facts if isinstance(fact, ToolUse)]
    expected = [(turn.id, block) for turn in script for block in turn.content if block["type"] in hosted]
    assert [(fact.response_id, fact.call_id, fact.tool, fact.input) for fact in uses] == [
        (turn_id, block["id"], block["name"], block["input"]) for turn_id, block in expected if not is_ours(block)
    ]
    usages = [fact for fact in played.facts if isinstance(fact, TokenUsage)]
    assert [(usage.response_id, usage.output_tokens) for usage in usages] == [
        (turn.id, turn.usage["output_tokens"]) for turn in script
    ]
    thoughts = [fact.content for fact in played.facts if isinstance(fact, Thought)]
    assert thoughts == [one["thinking"] for one in _visible(script) if one.get("thinking")]
    ours: list[Any] = [(call.call_id, call.tool_id) for turn in played.turns for call in turn.calls]
    assert ours == [(block["id"], block["name"]) for _, block in expected if is_ours(block)]


def _accumulated(stream: bytes) -> Message:
    """What the SDK's accumulator makes of these bytes."""
    with anthropic_reading(stream) as client:
        messages: Any = [{"role": "user", "content": "x"}]
        with client.messages.stream(model="m", max_tokens=1, messages=messages) as events:
            return events.get_final_message()

"""Replies over several turns, for any mix of calls, in any chunks: one answer for the client, one result a call."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aibridge.dialects.base import Thought, TokenUsage, ToolUse
from aibridge.tools import ToolCall
from tests.dialects.chat_completions.turns import (
    TOOLSET,
    Exchange,
    Script,
    chunks_in,
    parsed,
    replies,
    results_of,
    run,
    seen_by_sdk,
)

_QUESTION = {"role": "user", "content": "What is there?"}
_MODES = st.sampled_from(["asked", "not asked", "whole"])


def _body(mode: str, **more: Any) -> bytes:
    body: dict[str, Any] = {"model": "m-1", "messages": [_QUESTION], "tools": [_tool("read_file")], **more}
    if mode != "whole":
        body["stream"] = True
    if mode == "asked":
        body["stream_options"] = {"include_usage": True}
    return json.dumps(body).encode()


def _tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def _run(scripts: list[Script], mode: str, **options: Any) -> Exchange:
    return run(parsed(_body(mode)).offering(TOOLSET), scripts, stream=mode != "whole", **options)


def _text(scripts: list[Script]) -> str:
    return "\n\n".join(script.said for script in scripts if script.said)


@settings(max_examples=50)
@given(replies(), _MODES, st.booleans())
def test_the_client_sees_one_whole_answer_without_calls_of_ours(scripts: list[Script], mode: str, done: bool) -> None:
    exchange = _run(scripts, mode, done=done)

    seen, last = seen_by_sdk(exchange.client, stream=mode != "whole"), scripts[-1]
    choice = seen["choices"][0]
    message = choice["message"]
    assert len(exchange.asked) == len(scripts)
    assert b"bmcp_" not in exchange.client.replace(b"\\u", b"")
    assert message["role"] == "assistant"
    assert (message.get("content") or "") == _text(scripts)
    assert [
        (call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls") or ()
    ] == [(call.id, call.name, call.arguments) for call in last.clients]
    assert choice["finish_reason"] == last.finish
    assert exchange.client.count(b"\n\ndata: [DONE]\n\n") == (mode != "whole" and done)


@settings(max_examples=50)
@given(replies(), st.booleans())
def test_the_chunks_of_all_turns_are_those_of_one_answer(scripts: list[Script], asked: bool) -> None:
    chunks = chunks_in(_run(scripts, "asked" if asked else "not asked").client)

    assert {chunk["id"] for chunk in chunks} == {scripts[0].id}
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [choice["delta"]["role"] for choice in choices if "role" in choice["delta"]] == ["assistant"]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == [scripts[-1].finish]
    indexes = [call["index"] for choice in choices for call in choice["delta"].get("tool_calls", ())]
    assert list(dict.fromkeys(indexes)) == list(range(len(scripts[-1].clients)))
    assert asked or not any("usage" in chunk for chunk in chunks)


@settings(max_examples=50)
@given(replies(), st.sampled_from(["asked", "whole"]))
def test_the_clients_usage_is_the_last_turns_with_the_output_of_all(scripts: list[Script], mode: str) -> None:
    seen = seen_by_sdk(_run(scripts, mode).client, stream=mode != "whole")["usage"]

    usages = [script.usage() for script in scripts]
    output = sum(usage["completion_tokens"] for usage in usages)
    assert seen["prompt_tokens"] == usages[-1]["prompt_tokens"]
    assert seen["prompt_tokens_details"]["cached_tokens"] == usages[-1]["prompt_tokens_details"]["cached_tokens"]
    assert seen["completion_tokens"] == output
    assert seen["total_tokens"] == usages[-1]["prompt_tokens"] + output
    assert seen["completion_tokens_details"]["reasoning_tokens"] == sum(range(1, len(scripts) + 1))


@settings(max_examples=50)
@given(replies(), _MODES)
def test_every_turn_goes_upstream_as_it_came_with_one_result_for_every_call(scripts: list[Script], mode: str) -> None:
    exchange = _run(scripts, mode)

    history = [_QUESTION]
    for script, turn, messages in zip(scripts, exchange.turns, exchange.messages, strict=True):
        assert messages == history
        calls = [(call.call_id, call.tool_id, call.arguments) for call in turn.calls]
        assert calls == [(call.id, call.name, call.arguments) for call in script.ours]
        assert (turn.runnable, turn.mixed) == (bool(script.ours), bool(script.ours and script.clients))
        history = [*history, script.message(), *_results(turn.calls)]
    assert [json.loads(body)["tools"] for body in exchange.asked] == [json.loads(exchange.asked[0])["tools"]] * len(
        scripts
    )


def _results(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    return [
        {"role": "tool", "tool_call_id": call.call_id, "content": f"{call.tool_id} {call.arguments}"}
        if call.unrunnable is None
        else {"role": "tool", "tool_call_id": call.call_id, "content": f"Error: {call.unrunnable}"}
        for call in calls
    ]


@settings(max_examples=50)
@given(replies(), _MODES)
def test_facts_tell_every_turn_and_every_call_of_the_client(scripts: list[Script], mode: str) -> None:
    facts = _run(scripts, mode).facts

    last = scripts[-1]
    assert [fact for fact in facts if isinstance(fact, ToolUse)] == [
        ToolUse(response_id=last.id, call_id=call.id, tool=call.name, input=json.loads(call.arguments))
        for call in last.clients
    ]
    thoughts = ["".join(script.thoughts) for script in scripts if script.thoughts]
    assert [fact.content for fact in facts if isinstance(fact, Thought)] == thoughts
    assert [(fact.response_id, fact.output_tokens) for fact in facts if isinstance(fact, TokenUsage)] == [
        (script.id, script.usage()["completion_tokens"]) for script in scripts
    ]


@settings(max_examples=50)
@given(replies(), st.booleans(), st.data())
def test_chunk_boundaries_change_nothing(scripts: list[Script], asked: bool, data: st.DataObject) -> None:
    def chunked(answer: bytes) -> list[bytes]:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=20), label="cuts"))
        return [answer[start:end] for start, end in itertools.pairwise([0, *cuts, len(answer)])]

    mode = "asked" if asked else "not asked"

    assert _run(scripts, mode, chunked=chunked) == _run(scripts, mode)


@settings(max_examples=50)
@given(replies())
def test_without_calls_of_ours_the_client_gets_the_providers_bytes(scripts: list[Script]) -> None:
    last = replace(scripts[-1], calls=tuple(scripts[-1].clients))
    whole, stream = _run([last], "whole"), _run([last], "asked")

    assert whole.client == last.body()
    assert stream.client == b"".join(last.stream())


@settings(max_examples=50)
@given(replies(), st.booleans())
def test_text_of_every_turn_goes_out_at_once(scripts: list[Script], asked: bool) -> None:
    request = parsed(_body("asked" if asked else "not asked")).offering(TOOLSET).asking_usage()
    reply: Any = None
    for script in scripts:
        if reply is None:
            reply = request.reply(stream=True)
        else:
            reply.next_turn()
        for event in script.stream():
            out = reply.receive(event)
            said = [choice["delta"].get("content") for chunk in chunks_in(event) for choice in chunk["choices"]]
            if any(said):
                shown = [choice["delta"].get("content") for chunk in chunks_in(out) for choice in chunk["choices"]]
                assert "".join(shown).endswith(said[0])
        turn = reply.end_turn()
        if turn.calls:
            reply.answer(turn, results_of(turn.calls))

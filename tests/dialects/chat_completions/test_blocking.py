"""Whole chat answers of shapes that the stories do not tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibridge.dialects.base import Fact, Thought, TokenUsage, ToolUse, Turn, Unreadable
from aibridge.dialects.chat_completions import CHAT_COMPLETIONS


def _read(body: object, request: bytes = b'{"model":"m"}') -> tuple[Turn, tuple[Fact, ...]]:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = CHAT_COMPLETIONS.parse(request).reply(stream=False)
    assert b"".join(reply.receive(sent[at : at + 7]) for at in range(0, len(sent), 7)) == b""
    turn = reply.end_turn()
    assert reply.finish() == sent
    return turn, reply.facts()


def _answer(*messages: object, **more: object) -> dict[str, object]:
    return {"id": "c1", "choices": [{"index": 0, "message": message} for message in messages], **more}


def test_every_choice_is_read() -> None:
    call = {"type": "function", "function": {"name": "look", "arguments": "{}"}}
    first = {"reasoning": "hm", "tool_calls": [{"id": "a", **call}, {"id": "a", **call}]}
    second = {"reasoning_text": "ah", "tool_calls": [{"id": "b", "index": 0, **call}, {"index": 0, **call}]}
    turn, facts = _read(_answer(first, second))

    assert turn == Turn(outcome="complete", response_id="c1")
    assert [fact.content for fact in facts if isinstance(fact, Thought)] == ["hm", "ah"]
    assert [fact.call_id for fact in facts if isinstance(fact, ToolUse)] == ["a", "a", "b", None]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"choices":{}}',
        b"null",
        b'"x"',
        b'{"choices":[{"message":7},7,{"message":{"tool_calls":[7,{}]}}]}',
    ],
)
def test_any_body_passes(body: bytes) -> None:
    turn, facts = _read(body)

    assert turn.outcome == "complete"
    assert all(isinstance(fact, Unreadable) for fact in facts)


@pytest.mark.parametrize("choices", [None, []])
def test_an_error_under_status_200_is_a_failure(choices: object) -> None:
    turn, facts = _read({"error": {"message": "no", "code": "overloaded"}, "choices": choices})

    assert turn == Turn(outcome="failed", error_type="overloaded", error_message="no")
    assert facts == ()


def test_what_came_beside_an_error_is_kept_as_partial() -> None:
    turn, facts = _read(_answer({"content": "a"}, error="broken", usage={"prompt_tokens": 3}))

    assert turn == Turn(outcome="failed", response_id="c1", error_message="broken")
    assert facts == (TokenUsage(response_id="c1", input_tokens=3, partial=True),)


def test_an_answer_with_a_null_error_is_an_answer() -> None:
    assert _read(_answer({"content": "a"}, error=None)) == (Turn(outcome="complete", response_id="c1"), ())


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 2}, {"input_tokens": 5, "output_tokens": 2}),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}, {"cache_read_tokens": 9}),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": None}}, {"input_tokens": 5}),
        ({"prompt_tokens": 5, "prompt_tokens_details": 7}, {"input_tokens": 5}),
        ({"prompt_tokens": "x", "completion_tokens": -1}, {}),
        ({"prompt_tokens": 5, "cached_tokens": 2}, {"input_tokens": 3, "cache_read_tokens": 2}),
        (
            {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3}},
            {"input_tokens": 7, "cache_read_tokens": 2, "extra": {"prompt_cache_write": 3}},
        ),
    ],
)
def test_usage_is_read_as_it_is_sent(usage: object, expected: dict[str, Any]) -> None:
    assert _read(_answer(usage=usage))[1] == (TokenUsage(response_id="c1", **expected),)


@pytest.mark.parametrize("usage", [None, {}, [], 7])
def test_no_usage_is_no_fact(usage: object) -> None:
    assert _read(_answer({"content": "a"}, usage=usage))[1] == ()

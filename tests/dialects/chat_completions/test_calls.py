"""Tool calls in pieces, as servers of many kinds send them."""

from __future__ import annotations

import json
from typing import Any

from aibridge.dialects.base import ToolUse
from aibridge.dialects.chat_completions import CHAT_COMPLETIONS


def _calls(*deltas: list[dict[str, Any]]) -> list[tuple[str | None, str, object]]:
    reply = CHAT_COMPLETIONS.parse(b'{"model":"m-1","stream":true}').reply(stream=True)
    for delta in deltas:
        chunk = {"id": "c1", "choices": [{"index": 0, "delta": {"tool_calls": delta}, "finish_reason": None}]}
        reply.receive(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    reply.end_turn()
    return [(fact.call_id, fact.tool, fact.input) for fact in reply.facts() if isinstance(fact, ToolUse)]


def _call(
    index: object = None, call_id: str | None = None, name: str | None = None, args: object = None
) -> dict[str, Any]:
    call: dict[str, Any] = {"function": {}}
    if index is not None:
        call["index"] = index
    if call_id is not None:
        call["id"] = call_id
    if name is not None:
        call["function"]["name"] = name
    if args is not None:
        call["function"]["arguments"] = args
    return call


def test_a_name_that_comes_in_pieces_is_joined_and_one_that_is_repeated_is_not() -> None:
    assert _calls([_call(0, "c1", "get_")], [_call(0, name="weather", args="")], [_call(0, args="{}")]) == [
        ("c1", "get_weather", {})
    ]
    assert _calls([_call(0, "c1", "look", "{")], [_call(0, "c1", "look", "}")]) == [("c1", "look", {})]


def test_an_id_that_is_new_in_every_piece_does_not_make_new_calls() -> None:
    assert _calls([_call(0, "c1", "look", "{")], [_call(0, "c2", args="}")]) == [("c1", "look", {})]


def test_two_calls_of_one_tool_under_one_index_are_two() -> None:
    assert _calls([_call(0, "c1", "look", "{}")], [_call(0, "c2", "look", "[]")]) == [
        ("c1", "look", {}),
        ("c2", "look", []),
    ]


def test_another_name_after_arguments_is_another_call_even_without_ids() -> None:
    assert _calls([_call(None, None, "look", "{}")], [_call(None, None, "find", "[]")]) == [
        (None, "look", {}),
        (None, "find", []),
    ]


def test_pieces_without_index_find_their_call_by_its_id() -> None:
    assert _calls([_call(None, "c1", "look")], [_call(None, "c2", "find")], [_call(None, "c1", None, "{}")]) == [
        ("c1", "look", {}),
        ("c2", "find", None),
    ]


def test_arguments_are_kept_as_far_as_they_came() -> None:
    assert _calls([_call(0, "c1", "look", '{"a":')]) == [("c1", "look", '{"a":')]
    assert _calls([_call(0, "c1", "look", {"a": 2**70})]) == [("c1", "look", {"a": 2**70})]
    assert _calls([_call(0, "c1", "look", " ")]) == [("c1", "look", None)]


def test_pieces_of_nothing_are_no_calls() -> None:
    assert _calls([{}], [{"index": None, "function": None}], [_call(3)]) == []

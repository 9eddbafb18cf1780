"""Corners of Messages streams that are no story of a provider, but happen behind servers in between."""

from __future__ import annotations

import json

import pytest

from aibridge.dialects.base import Fact, Thought, ToolUse, Turn
from aibridge.dialects.messages.stream import MessagesReader
from aibridge.wire.sse import event_block


def _read(*events: dict[str, object]) -> tuple[list[Fact], Turn]:
    reader = MessagesReader()
    for event in events:
        reader.read(event_block(json.dumps(event).encode()))
    turn = reader.end()
    return list(reader.facts()), turn


def _start(index: object, **block: object) -> dict[str, object]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def _delta(index: object, **delta: object) -> dict[str, object]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def test_a_block_that_begins_where_another_has_not_ended_ends_it() -> None:
    facts, _ = _read(
        _start(0, type="thinking", thinking="A"),
        _delta(0, type="thinking_delta", thinking=" thought"),
        _start(0, type="thinking", thinking="Another"),
        _start(0, type="text", text=""),
        _delta(0, type="thinking_delta", thinking="of no block"),
    )

    assert facts == [Thought(content="A thought", source="thinking"), Thought(content="Another", source="thinking")]


def test_pieces_of_another_kind_are_no_part_of_a_block() -> None:
    facts, _ = _read(
        _start(0, type="thinking"),
        _delta(0, type="input_json_delta", partial_json="{}"),
        _start(1, type="tool_use", id="toolu_1", name="f", input={"a": 1}),
        _delta(1, type="thinking_delta", thinking="hm"),
        _delta(2, type="thinking_delta", thinking="hm"),
        {"type": "content_block_stop", "index": 7},
    )

    assert facts == [ToolUse(response_id=None, call_id="toolu_1", tool="f", input={"a": 1})]


def test_arguments_that_come_whole_with_the_start_are_kept() -> None:
    facts, _ = _read(_start(0, type="tool_use", id="toolu_1", name="f", input={"city": "Lyon"}))

    assert facts == [ToolUse(response_id=None, call_id="toolu_1", tool="f", input={"city": "Lyon"})]


@pytest.mark.parametrize("data", [b'{"type":"ping"}', b'{"message":"overloaded"}', b"7", b"[]", b"overloaded"])
def test_an_event_that_is_named_an_error_is_one(data: bytes) -> None:
    reader = MessagesReader()
    block = event_block(data, b"error")

    assert reader.read(block) == block
    assert reader.ended()
    assert reader.end() == Turn(outcome="failed")
    assert reader.facts() == ()


def test_an_error_without_data_is_none() -> None:
    reader = MessagesReader()
    reader.read(b"event: error\n\n")

    assert not reader.ended()


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\n"])
def test_a_delta_is_not_plain_when_another_field_follows_it(line_end: bytes) -> None:
    reader = MessagesReader()
    plain = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta"}}'

    reader.read(plain + line_end + b"event: error\n\n")

    assert reader.ended()

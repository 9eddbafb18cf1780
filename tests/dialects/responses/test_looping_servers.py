"""Loops with servers that stream otherwise than the reference shows: no numbers, no places, items only at the end."""

from __future__ import annotations

import json
from typing import Any

from aibridge.dialects.turns import LoopingReply
from aibridge.tools import ToolResult
from tests.dialects.responses.events import Json
from tests.dialects.responses.provider import TOOLS, answered, call, message, request_of, search


def _events_played(first: list[Json], *more: Json) -> tuple[list[Json], Any]:
    made: Any = request_of(input="hello", store=False).offering(TOOLS).reply(stream=True)
    reply: LoopingReply = made
    out = b"".join(reply.receive(b"data: " + json.dumps(event).encode() + b"\n\n") for event in first)
    turn = reply.end_turn()
    if more:
        reply.answer(turn, [ToolResult(call_id=one.call_id, content=()) for one in turn.calls])
        reply.next_turn()
        out += b"".join(reply.receive(b"data: " + json.dumps(event).encode() + b"\n\n") for event in more)
        reply.end_turn()
    out += reply.finish()
    return [json.loads(line[6:]) for line in out.splitlines() if line.startswith(b"data: ")], turn


def test_items_without_places_or_numbers_are_hidden_by_their_ids() -> None:
    ours = call("c_1", "bmcp_wiki_read")
    events, turn = _events_played(
        [
            {"type": "response.output_item.added", "item": ours},
            {"type": "response.function_call_arguments.delta", "item_id": "fc_c_1", "delta": "{}"},
            {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "hi"},
            {"type": "response.output_item.done", "item": ours},
            {"type": "response.completed", "response": answered("resp_1", [ours], {})},
        ],
        {"type": "response.output_text.delta", "item_id": "msg_2", "delta": "ho"},
        {"type": "response.completed", "response": answered("resp_2", [message("msg_2", "ho")], {})},
    )

    assert [event["type"] for event in events] == [
        "response.output_text.delta", "response.output_text.delta", "response.completed"
    ]  # fmt: skip
    assert "sequence_number" not in events[0]
    assert [one.call_id for one in turn.calls] == ["c_1"]
    assert turn.runnable


def test_calls_that_a_server_says_only_at_the_end_are_ours_too() -> None:
    events, turn = _events_played(
        [{"type": "response.completed", "response": answered("r", [message("m", "hi"), call("c_1", "bmcp_x")], {})}]
    )

    assert [one.call_id for one in turn.calls] == ["c_1"]
    assert [item["id"] for item in events[0]["response"]["output"]] == ["m"]


def test_numbers_behind_other_members_are_changed_as_well() -> None:
    ours = call("c_1", "bmcp_wiki_read")
    events, _ = _events_played(
        [
            {"sequence_number": 7, "type": "response.created", "response": answered("resp_1", [], {})},
            {"sequence_number": 8, "type": "response.output_item.added", "item": ours, "output_index": 0},
            {"type": "response.output_text.delta", "delta": 'a"', "output_index": 1, "sequence_number": 9},
            {"type": "response.output_text.delta", "sequence_number": 10, "delta": '"', "output_index": 1},
            {"type": "response.output_text.delta", "sequence_number": 11, "delta": '"output_index"', "output_index": 1},
        ]
    )

    assert [(event["sequence_number"], event.get("output_index")) for event in events] == [
        (7, None),
        (8, 0),
        (9, 0),
        (10, 0),
    ]


def test_an_item_that_takes_the_place_of_a_call_of_ours_is_seen() -> None:
    ours, theirs = call("c_1", "bmcp_wiki_read"), call("c_2", "own")
    events, turn = _events_played(
        [
            *({"type": "response.output_item.added", "item": one, "output_index": 0} for one in (ours, theirs)),
            *({"type": "response.output_item.done", "item": one, "output_index": 0} for one in (ours, theirs)),
        ]
    )

    assert [event["item"]["name"] for event in events] == ["own", "own"]
    assert ([one.call_id for one in turn.calls], turn.mixed) == (["c_1"], True)


_TEXT = {"type": "response.output_text.delta", "output_index": 0, "delta": "ho"}


def test_places_go_on_behind_items_that_a_server_says_only_at_the_end() -> None:
    first = answered("resp_1", [message("msg_0", "hi"), search("ws_1"), call("c_1", "bmcp_wiki_read")], {})

    events, _ = _events_played([{"type": "response.completed", "response": first}], _TEXT)

    assert [event["output_index"] for event in events] == [2]


def test_places_go_on_behind_items_that_a_server_does_not_say_at_the_end() -> None:
    items = [message("msg_0", "hi"), call("c_1", "bmcp_wiki_read"), search("ws_1")]
    done = [{"type": "response.output_item.done", "output_index": at, "item": item} for at, item in enumerate(items)]

    events, turn = _events_played(
        [*done, {"type": "response.completed", "response": answered("resp_1", [], {})}], _TEXT
    )

    assert [event["output_index"] for event in events] == [0, 1, 2]
    assert [one.call_id for one in turn.calls] == ["c_1"]


def test_what_is_about_no_item_is_not_hidden_with_a_call_that_has_neither_place_nor_id() -> None:
    ours = {"type": "function_call", "name": "bmcp_wiki_read", "call_id": "c_1", "arguments": ""}
    events, turn = _events_played(
        [
            {"type": "response.output_item.added", "item": ours},
            {"type": "response.function_call_arguments.delta", "delta": "{}"},
            {"type": "response.news"},
            {"type": "response.output_item.done", "item": {**ours, "arguments": "{}"}},
        ]
    )

    assert events == [{"type": "response.news"}]
    assert [one.arguments for one in turn.calls] == ["{}"]

"""Whole bodies that are not as the reference shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.dialects.base import Fact, StoredIds, ToolUse, Turn, Unreadable
from aibridge.dialects.responses import RESPONSES, RESPONSES_COMPACT


def _read(body: bytes) -> tuple[tuple[Fact, ...], Turn]:
    reply = RESPONSES.parse(b'{"model":"gpt-5.6"}').reply(stream=False)
    assert reply.receive(body) == b""
    turn = reply.end_turn()
    assert reply.finish() == body
    return reply.facts(), turn


def test_an_error_with_status_200_is_a_failure() -> None:
    facts, turn = _read(b'{"error":{"type":"server_error","message":"Later."}}')

    assert (facts, turn) == ((), Turn(outcome="failed", error_type="server_error", error_message="Later."))


@pytest.mark.parametrize("body", [b"", b"nope", b"[]", b"{}", b'{"object":"list","output":[]}', b'{"object":["odd"]}'])
def test_a_body_of_another_shape_is_unreadable(body: bytes) -> None:
    assert _read(body) == ((Unreadable("the answer is no response object"),), Turn(outcome="complete"))


def test_odd_items_do_not_hide_the_others() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "ls", "arguments": "{}"}

    facts, _ = _read(json.dumps({"object": "response", "output": [7, None, [], {"type": 3}, call]}).encode())

    assert facts == (
        StoredIds(("fc_1",)),
        ToolUse(response_id=None, call_id="call_1", tool="ls", input={}),
    )


def test_a_compaction_is_read_like_a_response() -> None:
    reply = RESPONSES_COMPACT.parse(b'{"model":"gpt-5.6"}').reply(stream=False)
    reply.receive(b'{"object":"response.compaction","id":"resp_1","output":[{"type":"compaction","id":"cmp_1"}]}')

    assert reply.end_turn() == Turn(outcome="complete", response_id="resp_1")
    assert reply.facts() == (StoredIds(("resp_1", "cmp_1")),)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_members = st.dictionaries(
    st.sampled_from(
        [
            "id",
            "status",
            "error",
            "usage",
            "service_tier",
            "conversation",
            "type",
            "call_id",
            "summary",
            "content",
            "action",
        ]
    ),
    _json,
    max_size=6,
)


@given(members=_members, output=st.lists(_members | _json, max_size=3))
def test_no_response_is_too_odd_to_be_read(members: dict[str, Any], output: list[Any]) -> None:
    facts, turn = _read(json.dumps({**members, "object": "response", "output": output}).encode())

    assert turn.outcome == ("failed" if members.get("status") == "failed" else "complete")
    assert not [fact for fact in facts if isinstance(fact, Unreadable)]

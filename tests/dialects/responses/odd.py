"""Events that no page describes: members of every type, kinds without their members, blocks that are no JSON."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.dialects.responses.events import block

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_kinds = st.sampled_from(
    [
        "response.created",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_text.delta",
        "response.function_call_arguments.delta",
        "response.reasoning_summary_text.delta",
        "response.completed",
        "response.failed",
        "error",
        "",
    ]
)
_members = st.sampled_from(
    [
        "response",
        "item",
        "output_index",
        "item_id",
        "summary_index",
        "content_index",
        "delta",
        "error",
        "code",
        "message",
        "type",
    ]
)
_item_like = st.dictionaries(
    st.sampled_from(["id", "type", "call_id", "phase", "summary", "content", "arguments", "input", "action", "name"]),
    json_values | st.sampled_from(["reasoning", "message", "function_call", "web_search_call", "commentary", "bmcp_x"]),
    max_size=5,
)
_odd_events = st.builds(
    lambda kind, members: {"type": kind, **members},
    _kinds,
    st.dictionaries(
        _members, json_values | _item_like | st.builds(lambda one: {"output": [one]}, _item_like), max_size=5
    ),
)
odd_blocks = st.one_of(
    _odd_events.map(block),
    json_values.map(lambda value: b"data: " + json.dumps(value).encode() + b"\n\n"),
    st.sampled_from([b": keep-alive\n\n", b"\n\n", b"data: [DONE]\n\n", b"event: error\ndata: oh\n\n", b"data: {\n\n"]),
)

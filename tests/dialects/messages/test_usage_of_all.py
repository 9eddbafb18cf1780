"""What a client is told of the tokens of a reply over several turns: the size of its context, and all that was said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibridge.dialects.messages.usage import usage_of_all

_EARLIER = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 100}


@pytest.mark.parametrize(
    ("written", "last", "told"),
    [
        (None, {"input_tokens": 3}, {"input_tokens": 3, "output_tokens": 5}),
        (b'{"output_tokens":7}', {"output_tokens": 7}, {"output_tokens": 12}),
        (
            b'{"output_tokens":7}',
            {"input_tokens": 30, "output_tokens": 7, "cache_read_input_tokens": 140, "cache_creation_input_tokens": 9},
            {
                "output_tokens": 12,
                "input_tokens": 30,
                "cache_creation_input_tokens": 9,
                "cache_read_input_tokens": 140,
            },
        ),
        # What the last turn restates, and what nobody here knows, stays as it was written.
        (
            b'{"input_tokens":31,"output_tokens":7,"novelty":{"a":1}}',
            {"input_tokens": 31, "output_tokens": 7},
            {"input_tokens": 31, "output_tokens": 12, "novelty": {"a": 1}},
        ),
        (b"null", {}, {"output_tokens": 5}),
        (b'{"output_tokens":null}', {"output_tokens": None}, {"output_tokens": 5}),
        (b'{"output_tokens":7,"x\xff":1}', {"output_tokens": 7}, {"output_tokens": 12}),
    ],
)
def test_the_input_is_the_last_turns_and_the_output_is_summed(
    written: bytes | None, last: dict[str, Any], told: dict[str, Any]
) -> None:
    assert json.loads(usage_of_all(written, [_EARLIER], last)) == told


def test_searches_and_thoughts_are_summed_too() -> None:
    turns: list[dict[str, Any]] = [
        {"output_tokens": 1, "server_tool_use": {"web_search_requests": 2}, "output_tokens_details": {"thinking": 1}},
        {"output_tokens": 1},
        {"output_tokens": 1, "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 4, "tier": "x"}},
    ]

    told = json.loads(usage_of_all(b'{"server_tool_use":{"web_search_requests":1}}', turns[:-1], turns[-1]))

    assert told["output_tokens"] == 3
    assert told["server_tool_use"] == {"web_search_requests": 3, "web_fetch_requests": 4, "tier": "x"}
    assert told["output_tokens_details"] == {"thinking": 1}

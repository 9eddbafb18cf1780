"""Whole Messages answers that cannot be decoded, and what is known of them all the same."""

from __future__ import annotations

import pytest

from aibridge.dialects.base import TokenUsage, Unreadable
from aibridge.dialects.messages.blocking import read_body

_USAGE = b'"usage":{"input_tokens":200000,"output_tokens":7}'
_UNREADABLE = Unreadable("the answer is no message object")


def _nested(depth: int, *, behind: bytes = b"") -> bytes:
    call = b'{"type":"tool_use","id":"t","name":"n","input":' + b"[" * depth + b'"]}"' + b"]" * depth + b"}"
    return (
        b'{"id":"msg_1","model":"c",'
        + behind
        + b'"content":['
        + call
        + b"]"
        + (b"" if behind else b"," + _USAGE)
        + b"}"
    )


@pytest.mark.parametrize("body", [_nested(100_000), _nested(3_000, behind=_USAGE + b",")], ids=["behind", "before"])
def test_nobody_hides_what_was_used_by_having_the_model_nest_deeply(body: bytes) -> None:
    answer = read_body(body)

    used = TokenUsage(response_id="msg_1", input_tokens=200_000, output_tokens=7, model="c")
    assert answer.facts == (_UNREADABLE, used)
    assert answer.turn.outcome == "complete"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>usage</html>",
        b"[" * 5000,
        b'{"usage":',
        b'{"\xff":1,"usage":{}}',
        b'{"usage":{"input_tokens":',
        _nested(600_000),  # too much to be looked through
    ],
)
def test_what_cannot_be_told_apart_has_no_usage(body: bytes) -> None:
    assert read_body(body).facts == (_UNREADABLE,)

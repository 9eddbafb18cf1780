"""Errors in the words that Anthropic's clients know, written and read."""

from __future__ import annotations

import json

import pytest

from aibridge.dialects.messages import MESSAGES
from aibridge.errors import Problem
from aibridge.wire.sse import parse_block


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (409, "invalid_request_error"),
        (413, "request_too_large"),
        (415, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_a_status_has_its_type(status: int, kind: str) -> None:
    problem = Problem(status, 'what "happened"\n')

    body = json.loads(MESSAGES.error_body(problem, "req-1"))
    event = parse_block(MESSAGES.error_event(problem))

    shape = {"type": "error", "error": {"type": kind, "message": 'what "happened"\n'}}
    assert body == {**shape, "request_id": "req-1"}
    assert (event.name, json.loads(event.data or b"")) == (b"error", shape)
    assert MESSAGES.read_error(MESSAGES.error_body(problem, None)) == (kind, 'what "happened"\n')


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b'{"type":"error","error":{"type":"a","message":"b","code":"c","details":[]}}', ("a", "b")),
        (b'{"error":{"type":"a"}}', ("a", None)),
        (b'{"error":{"type":529,"message":["x"]}}', (None, None)),
        (b'{"error":"gone"}', (None, "gone")),
        (b'{"error":null}', (None, None)),
        (b'{"error":{"message":"half \\ud83d"}}', (None, "half \ufffd")),
        (b"<html>", (None, None)),
        (b"[]", (None, None)),
        (b"", (None, None)),
        (b"[" * 100_000, (None, None)),
    ],
)
def test_an_error_body_is_read_as_far_as_it_goes(body: bytes, read: tuple[str | None, str | None]) -> None:
    assert MESSAGES.read_error(body) == read

"""Errors in the midst of a Responses stream: said so that every client raises, and read in both shapes.

Source: https://platform.openai.com/docs/api-reference/responses-streaming/error. The reference shows a flat event;
what the provider sends, and what the SDKs raise an APIError on, has the fields in `error`. An event of ours has both.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aibridge.dialects.openai_errors import describe, error_shape, error_type
from aibridge.errors import Problem
from aibridge.wire.sse import event_block


def error_event(problem: Problem, sequence_number: int = 0) -> bytes:
    """`event: error` that goes on with the numbering of the events before it."""
    event = {
        "type": "error",
        "code": problem.code or error_type(problem.status),
        "message": problem.message,
        "param": None,
        **error_shape(problem),
        "sequence_number": sequence_number,
    }
    return event_block(msgspec.json.encode(event), b"error")


def failure(error: Any) -> tuple[str | None, str | None]:
    """What went wrong, and a message. The code comes first: `type` is often only the class of errors it is in."""
    kind, message = describe(error)
    code = error.get("code") if isinstance(error, dict) else None
    return (code if isinstance(code, str) and code else kind), message

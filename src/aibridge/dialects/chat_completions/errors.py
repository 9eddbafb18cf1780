"""Errors in the midst of a chat stream. Whole error bodies are those of `aibridge.dialects.openai_errors`."""

from __future__ import annotations

import msgspec

from aibridge.dialects.openai_errors import error_shape
from aibridge.errors import Problem
from aibridge.wire.sse import event_block


def error_event(problem: Problem) -> bytes:
    """`data: {"error":...}` without a name: the SDKs raise an APIError for a chunk that has an `error`."""
    return event_block(msgspec.json.encode(error_shape(problem)))

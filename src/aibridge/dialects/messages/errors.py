"""Errors in the shape that Anthropic's clients understand (https://docs.claude.com/en/api/errors)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from aibridge.dialects.reading import decoded, mapping, text
from aibridge.errors import Problem
from aibridge.wire.sse import event_block

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    501: "not_supported_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_type(status: int) -> str:
    return _TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")


def error_body(problem: Problem, request_id: str | None) -> bytes:
    """`{"type":"error","error":{...},"request_id":...}`."""
    return msgspec.json.encode({**_shape(problem), "request_id": request_id})


def error_event(problem: Problem) -> bytes:
    """`event: error`, which the SDKs raise as an APIStatusError in the middle of a stream."""
    return event_block(msgspec.json.encode(_shape(problem)), b"error")


def read_error(body: bytes) -> tuple[str | None, str | None]:
    """Type and message of a provider's error body; (None, None) when it is something else."""
    return failure(mapping(decoded(body)))


def failure(said: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Type and message of an error body or event, as far as they are there."""
    error = said.get("error")
    if isinstance(error, str):
        return None, error
    error = mapping(error)
    return text(error.get("type")) or None, text(error.get("message")) or None


def _shape(problem: Problem) -> dict[str, object]:
    return {"type": "error", "error": {"type": error_type(problem.status), "message": problem.message}}

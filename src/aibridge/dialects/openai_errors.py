"""Errors in the shape that OpenAI's clients understand, shared by the dialects that speak it.

Source: https://platform.openai.com/docs/guides/error-codes and the SDK's `APIError`, which reads `message`, `type`,
`param` and `code` out of `error`. The request id is no part of the body: clients read it from `x-request-id`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from aibridge.dialects.reading import decoded
from aibridge.errors import Problem

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "timeout_error",
    529: "server_error",
}


def error_type(status: int) -> str:
    return _TYPES.get(status, "invalid_request_error" if status < 500 or status == 501 else "api_error")


def error_shape(problem: Problem) -> dict[str, object]:
    """`{"error":{"message","type","param","code"}}`; all four are there, as the SDKs expect."""
    return {
        "error": {
            "message": problem.message,
            "type": error_type(problem.status),
            "param": None,
            "code": problem.code,
        }
    }


def error_body(problem: Problem, _request_id: str | None) -> bytes:
    return msgspec.json.encode(error_shape(problem))


def read_error(body: bytes) -> tuple[str | None, str | None]:
    """Type and message of a provider's error body; (None, None) when it is something else.

    Taken besides OpenAI's own: an error that is a bare string (Ollama), one without the `error` around it (vLLM),
    one in a list (Gemini's compatible endpoint), and `detail` (FastAPI servers).
    """
    found = decoded(body)
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, dict):
        return None, None
    return describe(found.get("error") or found)


def describe(error: Any) -> tuple[str | None, str | None]:
    """Type and message of an error value. Without a type the code stands in for it."""
    if isinstance(error, str):
        return None, error
    if not isinstance(error, dict):
        return None, None
    kind = next((error[name] for name in ("type", "code") if error.get(name) not in (None, "")), None)
    message = next((error[name] for name in ("message", "detail") if isinstance(error.get(name), str)), None)
    return (str(kind) if isinstance(kind, str | int) else None), message

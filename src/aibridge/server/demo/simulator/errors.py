"""Errors as the two providers word them: status, JSON shape and the headers that the SDKs read."""

from typing import Literal

from aibridge.server.demo.simulator.exchange import Answer, HeaderPairs
from aibridge.server.demo.simulator.json_values import JsonObject, compact, indented

Shape = Literal["anthropic", "openai"]

# https://platform.claude.com/docs/en/api/errors
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OPENAI_CODES = {401: "invalid_api_key", 429: "rate_limit_exceeded", 503: "server_is_overloaded"}
_RETRY_AFTER_SECONDS = 2


class Failure(Exception):
    """A request that the provider refuses."""

    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param


def anthropic_error(failure: Failure, request_id: str) -> JsonObject:
    kind = _ANTHROPIC_TYPES.get(failure.status, "api_error" if failure.status >= 500 else "invalid_request_error")
    error = {"type": kind, "message": failure.message}
    return {"type": "error", "error": error, "request_id": request_id}


def openai_error(failure: Failure) -> JsonObject:
    if failure.status >= 500:
        kind = "server_error"
    elif failure.status == 429:
        kind = "requests"  # what OpenAI calls a request rate limit
    else:
        kind = "invalid_request_error"
    code = failure.code or _OPENAI_CODES.get(failure.status)
    return {"error": {"message": failure.message, "type": kind, "param": failure.param, "code": code}}


def error_answer(failure: Failure, shape: Shape, headers: HeaderPairs, request_id: str) -> Answer:
    body = compact(anthropic_error(failure, request_id)) if shape == "anthropic" else indented(openai_error(failure))
    extra = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if failure.status in {429, 503, 529}:
        extra.append((b"retry-after", str(_RETRY_AFTER_SECONDS).encode()))
    return Answer(failure.status, headers + extra, (body,))

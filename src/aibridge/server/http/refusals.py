"""The answers that a connection gives by itself, before or instead of the application.

Small JSON, `Connection: close`, no word of what we are made of. The shape is read by the SDKs of both families:
Anthropic's look for a top-level `type` beside `error`, OpenAI's for `error` with `param` and `code`.
"""

from dataclasses import dataclass
from http import HTTPStatus

import msgspec


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused request, in words for the person who reads the client's log."""

    status: int
    kind: str
    message: str
    extra: bytes = b""  # whole header lines

    def body(self) -> bytes:
        error = {"type": self.kind, "message": self.message, "param": None, "code": None}
        return msgspec.json.encode({"type": "error", "error": error})

    def answer(self) -> bytes:
        """The whole response, head and body."""
        body = self.body()
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "x-content-type-options: nosniff\r\nconnection: close\r\n"
        )
        return head.encode("ascii") + self.extra + b"\r\n" + body


def bad_request(message: str) -> Refusal:
    return Refusal(400, "invalid_request_error", message)


def overloaded(message: str) -> Refusal:
    return Refusal(503, "overloaded_error", message, b"retry-after: 1\r\n")


MALFORMED = bad_request("the request is not well-formed HTTP/1.1")
BODY_MALFORMED = bad_request("the framing of the request body is not well-formed")
PIPELINED_TOO_DEEP = bad_request("too many pipelined requests")
HEAD_TIMEOUT = Refusal(408, "timeout_error", "the head of the request did not arrive in time")
BODY_TIMEOUT = Refusal(408, "timeout_error", "the body of the request arrived too slowly")
HEAD_TOO_LARGE = Refusal(431, "invalid_request_error", "the head of the request is too large")
TOO_MANY_HEADERS = Refusal(431, "invalid_request_error", "the request has too many headers")
TOO_MANY_CONNECTIONS = overloaded("too many connections")
FAILED = Refusal(500, "api_error", "the gateway failed to answer this request")
# Codex falls back to POST at once on a 426, and on nothing else.
USE_POST = Refusal(426, "invalid_request_error", "WebSocket mode is not supported here; send the request as a POST")
NO_WEBSOCKET = Refusal(501, "invalid_request_error", "WebSocket connections are not supported")

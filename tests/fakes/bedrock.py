"""Bedrock's answers, written by hand: frames of a stream, errors."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

from tests.strategies.frames import frame

EVENT_STREAM = (b"content-type", b"application/vnd.amazon.eventstream")
REQUEST_ID = (b"x-amzn-RequestId", b"4b2b1a7e-0000-4000-8000-1234567890ab")


def chunk(data: bytes) -> bytes:
    """One event of the model's, padded as Bedrock pads."""
    payload = json.dumps({"bytes": base64.b64encode(data).decode(), "p": "abcdefghij"}).encode()
    return frame({":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}, payload)


def chunks(events: Iterable[bytes]) -> list[bytes]:
    """Server-sent events of the Messages API as Bedrock has them."""
    return [chunk(event.partition(b"data: ")[2].rstrip(b"\n")) for event in events]


def exception(kind: str, **said: object) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return frame(dict(headers), json.dumps(said).encode())


def error(code: str, message: str) -> bytes:
    return frame({":error-code": code, ":error-message": message, ":message-type": "error"}, b"")

"""The body of a client's request: read whole within its bound, and decoded when it came in a content coding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aibridge.errors import Header, InvalidRequest, Problem, Refused
from aibridge.reply_writer import Receive
from aibridge.wire.content_coding import TooLarge, Undecodable, decoded_body


class ClientLeft(Exception):
    """The client hung up before its request was whole."""


async def read_body(scope: Mapping[str, Any], receive: Receive, limit: int) -> bytes:
    """The request body, of at most `limit` bytes. Raises: Refused (413), ClientLeft."""
    for name, value in scope["headers"]:
        # (Python refuses to read thousands of digits as a number.)
        if name == b"content-length" and value.isdigit() and (len(value) > 18 or int(value) > limit):
            raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        first: bytes = message.get("body", b"")
        if len(first) > limit:
            raise _too_large(limit)
        return first
    body = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return bytes(body)
        message = await receive()


def coding_of(headers: Sequence[Header]) -> str | None:
    """The request's content coding (RFC 9110 section 8.4), if it has one."""
    codings = [value.strip().lower() for name, value in headers if name.lower() == b"content-encoding"]
    coding = b",".join(codings).decode("latin-1")
    return coding if coding and coding != "identity" else None


def decoded(coding: str, body: bytes, limit: int) -> bytes:
    """The body without its coding, of at most `limit` bytes. Raises: InvalidRequest (415), Refused (413)."""
    try:
        return decoded_body(coding, body, limit)
    except Undecodable as error:
        raise InvalidRequest(str(error), status=415) from None
    except TooLarge:
        raise _too_large(limit) from None


def _too_large(limit: int) -> Refused:
    return Refused(Problem(413, f"the request body is larger than the limit of {limit} bytes"))

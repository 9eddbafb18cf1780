"""The head of a response as bytes, and how its body is framed.

What the application says about framing is checked or replaced here; a line break in a header never leaves.
"""

from collections.abc import Iterable
from http import HTTPStatus

import msgspec

from aibridge.server.http.asgi import Headers

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus}

# Everything that may stand in a field value (RFC 9110 section 5.5): HTAB, SP, VCHAR, obs-text.
_FIELD_BYTES = bytes((9, *range(0x20, 0x7F), *range(0x80, 0x100)))
_WATCHED = frozenset((b"connection", b"content-length", b"date", b"transfer-encoding"))


class ReplyHead(msgspec.Struct, frozen=True):
    """A head that may be sent, and what it promises. (A Struct is made five times faster than a frozen dataclass.)"""

    data: bytes
    chunked: bool
    length: int  # of the body, where it is not chunked; -1: until the connection ends
    bodiless: bool  # the body that the application gives is not sent
    keep_alive: bool


def reply_head(
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    defaults: Headers,
    *,
    method: str,
    http_1_1: bool,
    keep_alive: bool,
) -> ReplyHead:
    """Frame a response. `defaults` are added where the application did not say otherwise.

    Raises:
        ValueError: the application sent something that is no header, or two lengths.
    """
    bodiless = method == "HEAD" or status in (204, 304)
    parts = [STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
    lines = 1
    length = -1
    dated = False
    for name, value in headers:
        name = name.lower()  # noqa: PLW2901  ASGI asks for lower case, and a missed length would break the framing
        if name in _WATCHED:
            if name == b"content-length":
                length = _length(value, length)
                if status == 204:  # RFC 9110 section 8.6
                    continue
            elif name == b"date":
                dated = True
            else:  # connection and transfer-encoding are the server's to choose (ASGI, "Response Start")
                keep_alive = keep_alive and b"close" not in value.lower()
                continue
        parts += (name, b": ", value, b"\r\n")
        lines += 1
    if not dated:
        for name, value in defaults:
            parts += (name, b": ", value, b"\r\n")
            lines += 1
    chunked = length < 0 and not bodiless and http_1_1
    if chunked:
        parts.append(b"transfer-encoding: chunked\r\n")
        lines += 1
    keep_alive = keep_alive and (chunked or length >= 0 or bodiless)
    if not keep_alive:
        parts.append(b"connection: close\r\n")
        lines += 1
    parts.append(b"\r\n")
    data = b"".join(parts)
    # One pass in C: what is left without the allowed bytes is exactly one CRLF a line, or somebody smuggled one in.
    if data.translate(None, _FIELD_BYTES) != b"\r\n" * (lines + 1):
        raise ValueError("a response header contains a control character")
    return ReplyHead(data, chunked, length, bodiless, keep_alive)


def _length(value: bytes, known: int) -> int:
    if known >= 0:
        raise ValueError("two Content-Length headers in a response")
    if not value.isdigit():
        raise ValueError("the Content-Length of a response is not a number")
    return int(value)

"""What a request head must say before it becomes a request; the checks that llhttp leaves to us.

llhttp (strict) already refuses a Content-Length that is doubled or stands beside Transfer-Encoding, obs-fold, bare LF,
control characters and spaces before the colon. What is left here: nobody behind us may read the head differently.
"""

import re
from functools import lru_cache

from aibridge.server.http.asgi import Headers
from aibridge.server.http.refusals import NO_WEBSOCKET, USE_POST, Refusal, bad_request

# The headers that decide about framing, or that the server itself obeys.
WATCHED = frozenset((b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade"))

# uri-host [":" port] (RFC 9112 section 3.2, RFC 3986 section 3.2.2); empty is allowed.
_HOST = re.compile(rb"(?:\[[0-9A-Za-z.:%_~-]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?")

_VERSION = bad_request("the HTTP version must be 1.0 or 1.1")
_TARGET = bad_request("the request target must be a path (origin-form)")
_HOST_MISSING = bad_request("the Host header is missing")
_HOST_DOUBLED = bad_request("the Host header occurs twice")
_HOST_INVALID = bad_request("the Host header is not a host")
_TRANSFER_ENCODING = bad_request("the only Transfer-Encoding of a request is chunked, once, in HTTP/1.1")


def fault(target: bytes, version: str, watched: Headers) -> Refusal | None:
    """Why the head is refused, or None. `watched` are its headers that are in WATCHED, names lower-cased."""
    if version not in ("1.1", "1.0"):
        return _VERSION
    # Absolute-form names a second host, asterisk and authority forms name no resource of ours; a fragment is never
    # part of a target (RFC 9112 section 3.2) and cut off by some parsers.
    if target[:1] != b"/" or b"#" in target:
        return _TARGET
    hosts = 0
    encodings = 0
    for name, value in watched:
        if name == b"host":
            hosts += 1
            if not _is_host(value):
                return _HOST_INVALID
        elif name == b"transfer-encoding":
            encodings += 1
            # llhttp takes "gzip, chunked", whose body we could not read, and chunked in HTTP/1.0, where it means
            # nothing (RFC 9112 section 6.1).
            if encodings > 1 or value.lower() != b"chunked" or version != "1.1":
                return _TRANSFER_ENCODING
    if hosts == 1:
        return None
    if hosts:
        return _HOST_DOUBLED
    return _HOST_MISSING if version == "1.1" else None


@lru_cache(maxsize=64)  # nearly every request names the same few; 0.3 us each
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def websocket_refusal(target: bytes, watched: Headers) -> Refusal | None:
    """The answer to a handshake for WebSocket (RFC 6455 section 4.2.1); None for any other upgrade."""
    wanted = b",".join(value for name, value in watched if name == b"upgrade").lower().split(b",")
    if b"websocket" not in (token.strip() for token in wanted):
        return None
    path = target.partition(b"?")[0]
    return USE_POST if path.removesuffix(b"/").endswith(b"/responses") else NO_WEBSOCKET


def body_framing(watched: Headers) -> bytes:
    """The one header line that frames the body, b"" when there is none to come."""
    for name, value in watched:
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0")):
            return b"%b: %b\r\n" % (name, value)
    return b""

"""Bedrock's answers as Anthropic's: its event stream becomes server-sent events, its errors become Messages errors.

What the model said passes byte for byte, also `amazon-bedrock-invocationMetrics` in the last event, which Anthropic's
own Bedrock client hands on too.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType

import msgspec

from aibridge.dialects.messages import MESSAGES
from aibridge.dialects.reading import decoded, mapping, text
from aibridge.errors import Header, Problem
from aibridge.providers.platform import Incoming
from aibridge.wire.eventstream import EventStreamBroken, Frame, FrameDecoder
from aibridge.wire.sse import event_block

_EVENT_STREAM = b"application/vnd.amazon.eventstream"
# What AWS calls an error -> the status that Anthropic gives it. Where a name is missing, AWS's own status decides.
# https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html (the names begin differently in
# streams: `throttlingException`).
_STATUS: Mapping[str, int] = MappingProxyType(
    {
        "accessdeniedexception": 403,
        "internalserverexception": 500,
        "modelerrorexception": 500,
        "modelnotreadyexception": 503,
        "modelstreamerrorexception": 500,
        "modeltimeoutexception": 504,
        "resourcenotfoundexception": 404,
        "servicequotaexceededexception": 429,
        "serviceunavailableexception": 503,
        "throttlingexception": 429,
        "validationexception": 400,
    }
)
_OF_HTTP: Mapping[int, int] = MappingProxyType({408: 504, 424: 500})
_TYPE = re.compile(rb'\{"type":"([a-z_]{1,64})"')
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")
_LONGEST_REASON = 300  # characters of what AWS says to a refused key: a wrong signature brings the whole request back


class _Chunk(msgspec.Struct):
    """The payload of an event. `p` beside it is padding."""

    bytes: str


_CHUNK = msgspec.json.Decoder(_Chunk)


def bedrock_answer(status: int, headers: Sequence[Header]) -> Incoming:
    """What to make of an answer with this head."""
    if status >= 400:
        name = _error_name(headers)
        told = _told_status(name, status)
        found = partial(_error_body, name, told, _header(headers, b"x-amzn-requestid").decode("latin-1") or None)
        final = [(b"x-should-retry", b"false")] if told == 502 else []
        return Incoming(told, [*_headers(headers, b"application/json"), *final], whole=found)
    if _header(headers, b"content-type").startswith(_EVENT_STREAM):
        return Incoming(status, _headers(headers, b"text/event-stream; charset=utf-8"), piece=_Events().receive)
    return Incoming(status, _headers(headers))


def _headers(headers: Sequence[Header], kind: bytes | None = None) -> list[Header]:
    """Bedrock's headers, with the request's id also where Anthropic's clients look for it."""
    without = (b"content-type", b"content-length") if kind is not None else ()
    kept = [header for header in headers if header[0].lower() not in without]
    if kind is not None:
        kept.append((b"content-type", kind))
    request_id = _header(headers, b"x-amzn-requestid")
    return [*kept, (b"request-id", request_id)] if request_id else kept


def _header(headers: Sequence[Header], name: bytes) -> bytes:
    return next((value for found, value in headers if found.lower() == name), b"")


# -- the stream ----------------------------------------------------------------------------------------


class _Events:
    """Frames in, server-sent events out. Damage is an error event behind what came whole, and the end of it all."""

    __slots__ = ("_broken", "_frames")

    def __init__(self) -> None:
        self._frames = FrameDecoder()
        self._broken = False

    def receive(self, chunk: bytes) -> bytes:
        events: list[bytes] = []
        try:
            if not self._broken:
                events.extend(map(_event, self._frames.receive(chunk)))
        except EventStreamBroken as error:
            self._broken = True
            events.append(MESSAGES.error_event(Problem(502, f"the provider's event stream is damaged: {error}")))
        return b"".join(events)


def _event(frame: Frame) -> bytes:
    kind = frame.text(":message-type")
    if kind == "event":
        return _said(frame.payload) if frame.text(":event-type") == "chunk" else b""
    said = mapping(decoded(frame.payload))
    if kind == "exception":
        name = frame.text(":exception-type")
        message = text(said.get("message")) or text(said.get("originalMessage"))
    else:
        name, message = frame.text(":error-code"), frame.text(":error-message")
    return MESSAGES.error_event(Problem(_told_status(name, 500), message or _nameless(name)))


def _said(payload: bytes) -> bytes:
    """One event of the model's."""
    try:
        data = binascii.a2b_base64(_CHUNK.decode(payload).bytes, strict_mode=True)
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, ValueError):
        raise EventStreamBroken("an event is not what Bedrock documents") from None
    if b"\n" in data or b"\r" in data:
        data = data.translate(_LINE_ENDS)  # in JSON they stand between the parts only
    named = _TYPE.match(data)
    return event_block(data, named[1] if named is not None else _name(data))


def _name(data: bytes) -> bytes | None:
    """The type of an event in which something else comes first."""
    return text(mapping(decoded(data)).get("type")).encode("ascii", "ignore") or None


# -- errors --------------------------------------------------------------------------------------------


def _error_name(headers: Sequence[Header]) -> str:
    """`ValidationException` out of `x-amzn-ErrorType: ValidationException:http://internal.amazon.com/...`."""
    return _header(headers, b"x-amzn-errortype").decode("latin-1").partition(":")[0].rpartition("#")[2]


def _told_status(name: str, status: int) -> int:
    """The status for the client. A refusal of our own key is 502: at a 401 or 403 a client would drop its own login."""
    told = _STATUS.get(name.lower()) or _OF_HTTP.get(status, status)
    return 502 if told in (401, 403) else told


def _error_body(name: str, status: int, request_id: str | None, body: bytes) -> bytes:
    said = mapping(decoded(body))
    if said.get("type") == "error" and status != 502:
        return body  # some endpoints speak the dialect already
    message = text(said.get("message")) or text(said.get("Message")) or text(mapping(said.get("error")).get("message"))
    if status == 502:
        first, _, _ = message.partition("\n")
        message = f"AWS refused the gateway's own credential: {first[:_LONGEST_REASON] or _nameless(name)}"
    return MESSAGES.error_body(Problem(status, message or _nameless(name)), request_id)


def _nameless(name: str) -> str:
    return f"Bedrock reports {name}" if name else "Bedrock reports an error without saying which"

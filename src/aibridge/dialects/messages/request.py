"""A Messages request: read the model, the person's words and the lineage; set `metadata.user_id`; keep the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import msgspec

from aibridge.dialects.base import Reply
from aibridge.dialects.messages.blocking import read_body
from aibridge.dialects.messages.errors import error_event
from aibridge.dialects.messages.stream import MessagesReader
from aibridge.dialects.reading import decoded, elements, referenced_ids, request_object, string_member
from aibridge.dialects.reply import StreamedReply, WholeReply
from aibridge.errors import InvalidRequest
from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject

_UNIQUE = frozenset({"model", "stream", "metadata", "messages", "tools", "tool_choice", "container"})
_REMINDER, _REMINDER_END = "<system-reminder>", "</system-reminder>"
# Where ids of stored things stand (files, code execution containers), and where anything at all may stand.
_REFERENCES = ("file_id", "container")
_OPAQUE = frozenset({"input", "input_schema", "metadata"})


class _Role(msgspec.Struct):
    role: str = ""


_ROLE = msgspec.json.Decoder(_Role)


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """See `aibridge.dialects.base.Request`."""

    model: str
    streaming: bool
    _object: JsonObject = field(repr=False)
    _metadata: JsonObject | None = field(repr=False)
    _edits: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def background(self) -> bool:
        return False

    @property
    def stores(self) -> bool:
        return True  # a code execution container outlives the request

    @property
    def prompt(self) -> str | None:
        last = self._last_message()
        if last is None or last.get("role") != "user":
            return None
        content = last.get("content")
        if isinstance(content, str):
            return _own_words(content)
        texts = (_own_words(block["text"]) for block in _blocks(content, "text") if isinstance(block.get("text"), str))
        return next((text for text in reversed(list(texts)) if text), None)

    @property
    def correlating_tool_call_id(self) -> str | None:
        last = self._last_message()
        results = _blocks(last.get("content"), "tool_result") if last is not None else iter(())
        ids = [block.get("tool_use_id") for block in results]
        return next((one for one in reversed(ids) if isinstance(one, str)), None)

    @property
    def session_hint(self) -> str | None:
        return string_member(self._metadata, "user_id") if self._metadata is not None else None

    @property
    def references(self) -> tuple[str, ...]:
        return referenced_ids(self._object.text, _REFERENCES, _OPAQUE)

    def attributed_to(self, identifier: str) -> Self:
        user_id = {"user_id": msgspec.json.encode(identifier)}
        metadata = (
            self._metadata.with_members(user_id) if self._metadata else b'{"user_id":' + user_id["user_id"] + b"}"
        )
        return replace(self, _edits={**self._edits, "metadata": metadata})

    def asking_usage(self) -> Self:
        return self

    def body(self) -> bytes:
        return self._object.with_members(self._edits) if self._edits else self._object.text

    def reply(self, *, stream: bool) -> Reply:
        return StreamedReply(MessagesReader(), error_event) if stream else WholeReply(read_body)

    def _last_message(self) -> dict[str, Any] | None:
        """The last message that is not the client's own aside: Claude Code puts `system` messages after the user's."""
        for raw in reversed(elements(self._object.raw("messages"))):
            try:
                role = _ROLE.decode(raw).role
            except (msgspec.DecodeError, UnicodeDecodeError):
                return None
            if role != "system":
                message = decoded(bytes(raw))
                return message if isinstance(message, dict) else None
        return None


def parse(body: bytes) -> MessagesRequest:
    """The request in a body. Raises: InvalidRequest."""
    found = request_object(body, _UNIQUE)
    metadata = found.raw("metadata")
    try:
        parsed = JsonObject.parse(metadata, ("user_id",)) if metadata not in (None, b"null") else None
    except DoubledMember as error:
        raise InvalidRequest(f"metadata: {error}") from None
    except NotAnObject:
        raise InvalidRequest("metadata: an object is required") from None
    return MessagesRequest(string_member(found, "model") or "", found.is_true("stream"), found, parsed)


def _blocks(content: object, kind: str) -> Iterator[dict[str, Any]]:
    if isinstance(content, list):
        yield from (block for block in content if isinstance(block, dict) and block.get("type") == kind)


def _own_words(text: str) -> str | None:
    """The text without the reminders that Claude Code puts before a person's words; None when nothing is left."""
    words = text
    while words.lstrip().startswith(_REMINDER):
        words = words.partition(_REMINDER_END)[2]
    return words if words.strip() else None

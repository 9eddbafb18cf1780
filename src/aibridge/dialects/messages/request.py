"""A Messages request: read the model, the person's words and the lineage; set `metadata.user_id`; keep the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import msgspec

from aibridge.dialects.base import Reply
from aibridge.dialects.messages.blocking import read_body
from aibridge.dialects.messages.errors import error_event
from aibridge.dialects.messages.stream import MessagesReader
from aibridge.dialects.prompt import last_message, own_words
from aibridge.dialects.reading import decoded, referenced_ids, request_object, string_member, text
from aibridge.dialects.reply import StreamedReply, WholeReply
from aibridge.errors import InvalidRequest
from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject

_UNIQUE = frozenset({"model", "stream", "metadata", "messages", "tools", "tool_choice", "container"})
# Where ids of stored things stand (files, code execution containers), and where anything at all may stand.
_REFERENCES = ("file_id", "container")
_OPAQUE = frozenset({"input", "input_schema", "metadata"})
# What Claude Code says itself, in the midst of a conversation, stands behind the person's words.
_ASIDES = frozenset({"system"})


@dataclass(frozen=True, slots=True)
class MessagesRequest:
    """See `aibridge.dialects.base.Request`."""

    model: str
    streaming: bool
    _object: JsonObject = field(repr=False)
    _metadata: JsonObject | None = field(repr=False)
    _last: Mapping[str, Any] = field(repr=False)  # the last message that is not an aside
    _edits: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def background(self) -> bool:
        return False

    @property
    def stores(self) -> bool:
        return True  # a code execution container outlives the request

    @property
    def prompt(self) -> str | None:
        if self._last.get("role") != "user":
            return None
        content = self._last.get("content")
        if isinstance(content, str):
            return own_words(content)
        texts = (own_words(text(block.get("text"))) for block in reversed(_blocks(content, "text")))
        return next((words for words in texts if words is not None), None)

    @property
    def correlating_tool_call_id(self) -> str | None:
        results = reversed(_blocks(self._last.get("content"), "tool_result"))
        return next((found for block in results if (found := text(block.get("tool_use_id")))), None)

    @property
    def session_hint(self) -> str | None:
        return text(decoded(self._metadata.raw("user_id"))) or None if self._metadata is not None else None

    @property
    def references(self) -> tuple[str, ...]:
        # A container stands at the top only, and looking for a name through 50 KB costs 30 us.
        names = _REFERENCES if "container" in self._object else _REFERENCES[:1]
        return referenced_ids(self._object.text, names, _OPAQUE)

    def attributed_to(self, identifier: str) -> Self:
        user_id = {"user_id": msgspec.json.encode(identifier)}
        metadata = (
            self._metadata.with_members(user_id)
            if self._metadata is not None
            else b'{"user_id":' + user_id["user_id"] + b"}"
        )
        return replace(self, _edits={**self._edits, "metadata": metadata})

    def asking_usage(self) -> Self:
        return self

    def body(self) -> bytes:
        return self._object.with_members(self._edits) if self._edits else self._object.text

    def reply(self, *, stream: bool) -> Reply:
        return StreamedReply(MessagesReader(), error_event) if stream else WholeReply(read_body)


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
    return MessagesRequest(
        model=string_member(found, "model") or "",
        streaming=found.is_true("stream"),
        _object=found,
        _metadata=parsed,
        _last=last_message(found.raw("messages"), _ASIDES),
    )


def _blocks(content: object, kind: str) -> list[dict[str, Any]]:
    if not isinstance(content, list):
        return []
    return [block for block in content if isinstance(block, dict) and block.get("type") == kind]

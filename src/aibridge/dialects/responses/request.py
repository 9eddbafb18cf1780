"""A Responses request: read the model, the person's words and the lineage; set `safety_identifier`; keep the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

import msgspec

from aibridge.dialects.base import Reply
from aibridge.dialects.reading import decoded, elements, referenced_ids, request_object, string_member
from aibridge.dialects.reply import StreamedReply, WholeReply
from aibridge.dialects.responses.blocking import read_body
from aibridge.dialects.responses.stream import ResponsesReader
from aibridge.wire.json_body import JsonObject

_UNIQUE = frozenset(
    {"model", "stream", "user", "safety_identifier", "input", "tools", "tool_choice", "store", "background"}
    | {"previous_response_id", "conversation", "prompt_cache_key"}
)
# Where ids of stored things stand, also in items of `input` that a client sends again: a code interpreter with an
# automatic container goes on in the one that an earlier call names.
_REFERENCES = (
    "previous_response_id",
    "conversation",
    "comparison_response_id",
    "file_id",
    "file_ids",
    "vector_store_ids",
    "container",
    "container_id",
)
# Where anything at all may stand under any name (arguments, schemas, labels), and what was found rather than asked.
_OPAQUE = frozenset(
    {"arguments", "parameters", "schema", "input_schema", "metadata", "client_metadata", "headers"}
    | {"annotations", "results", "attributes"}
)
# What agents put around a person's words, or send in the person's name: Codex's contexts and notices, and the
# reminders that other agents write. Attributes may stand in the tag.
_ASIDE = re.compile(
    r"\s*<(environment_context|user_instructions|extension_context|goal_context|codex_internal_context|turn_aborted"
    r"|subagent_notification|skill|hook_prompt|recommended_plugins|system-reminder)(?:\s[^>]*)?>",
)
# Codex's form of the instructions that it found in a folder.
_FOLDER_INSTRUCTIONS = re.compile(r"\s*# AGENTS\.md instructions\b.*</INSTRUCTIONS>\s*", re.DOTALL)


class _InputItem(msgspec.Struct):
    """What is read of an item of `input`. Nothing here is strict: the provider judges the request."""

    type: Any = None
    role: Any = None
    id: Any = None
    call_id: Any = None
    content: msgspec.Raw = msgspec.Raw(b"null")


_ITEM = msgspec.json.Decoder(_InputItem)


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """See `aibridge.dialects.base.Request`."""

    model: str
    streaming: bool
    _object: JsonObject = field(repr=False)
    _items: tuple[_InputItem, ...] = field(repr=False)
    _added: frozenset[str]
    _edits: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def background(self) -> bool:
        return self._object.is_true("background")

    @property
    def stores(self) -> bool:
        return self._object.raw("store") != b"false"

    @property
    def prompt(self) -> str | None:
        words = string_member(self._object, "input")
        if words is not None:
            return _own_words(words)
        last = next((item for item in reversed(self._items) if not _is_aside(item)), None)
        if last is None or last.role != "user" or last.type not in (None, "message"):
            return None
        content = decoded(last.content)
        texts = [content] if isinstance(content, str) else _texts(content)
        return "\n".join(own for text in texts if (own := _own_words(text))) or None

    @property
    def correlating_tool_call_id(self) -> str | None:
        return next((call_id for item in reversed(self._items) if (call_id := _answered_call(item))), None)

    @property
    def session_hint(self) -> str | None:
        return string_member(self._object, "prompt_cache_key")

    @property
    def references(self) -> tuple[str, ...]:
        named = referenced_ids(self._object.text, _REFERENCES, _OPAQUE)
        referenced = (item.id for item in self._items if _is_reference(item) and isinstance(item.id, str))
        return tuple(dict.fromkeys((*named, *referenced)))

    def attributed_to(self, identifier: str) -> Self:
        own = msgspec.json.encode(identifier)
        names = [name for name in ("safety_identifier", "user") if name in self._object or name in self._added]
        return replace(self, _edits={**self._edits, **dict.fromkeys(names, own)})

    def asking_usage(self) -> Self:
        return self

    def body(self) -> bytes:
        return self._object.with_members(self._edits) if self._edits else self._object.text

    def reply(self, *, stream: bool) -> Reply:
        if not stream:
            return WholeReply(partial(read_body, stored=self.stores))
        reader = ResponsesReader(stored=self.stores)
        return StreamedReply(reader, reader.error_event)


def parse(body: bytes) -> ResponsesRequest:
    """The request in a body. Raises: InvalidRequest."""
    return _request(body, frozenset({"safety_identifier"}))


def parse_compaction(body: bytes) -> ResponsesRequest:
    """The same for `/responses/compact`, which refuses `safety_identifier`: what the client sent is overwritten."""
    return _request(body, frozenset())


def _request(body: bytes, added: frozenset[str]) -> ResponsesRequest:
    found = request_object(body, _UNIQUE)
    items = tuple(item for raw in elements(found.raw("input")) if (item := _input_item(raw)) is not None)
    return ResponsesRequest(string_member(found, "model") or "", found.is_true("stream"), found, items, added)


def _input_item(raw: bytes) -> _InputItem | None:
    try:
        return _ITEM.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _is_reference(item: _InputItem) -> bool:
    """`type` may be left out of a reference; then it is an item with an id and nothing else that we know."""
    return item.type == "item_reference" or (item.type is None and item.role is None)


def _is_aside(item: _InputItem) -> bool:
    """Neither a person's words nor an answer: a reference, or what the client says to the model."""
    return _is_reference(item) or (item.type in (None, "message") and item.role in ("system", "developer"))


def _answered_call(item: _InputItem) -> str | None:
    """The call whose result an item is. A result of the local shell has the call's id for its own."""
    kind = item.type if isinstance(item.type, str) else ""
    if not kind.endswith("_call_output") and kind != "tool_search_output":
        return None
    answered = item.id if item.call_id is None and kind == "local_shell_call_output" else item.call_id
    return answered if isinstance(answered, str) else None


def _texts(content: object) -> Iterator[str]:
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") == "input_text" and isinstance(part.get("text"), str):
            yield part["text"]


def _own_words(text: str) -> str | None:
    """The text without what an agent put before it; None when nothing is left."""
    if _FOLDER_INSTRUCTIONS.fullmatch(text):
        return None
    while (aside := _ASIDE.match(text)) is not None:
        text = text.partition(f"</{aside[1]}>")[2]
    return text if text.strip() else None

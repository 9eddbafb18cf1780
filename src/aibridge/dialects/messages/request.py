"""A Messages request: read the model, the person's words and the lineage; set `metadata.user_id`; keep the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from aibridge.dialects.base import Reply, Turn
from aibridge.dialects.calls import refuse_our_prefix
from aibridge.dialects.looping import LoopedReply
from aibridge.dialects.messages.blocking import read_body
from aibridge.dialects.messages.errors import error_event
from aibridge.dialects.messages.held import Place
from aibridge.dialects.messages.recall import anchors, place_behind, with_hidden_turns
from aibridge.dialects.messages.stream import MessagesReader
from aibridge.dialects.messages.tools import names, offered, result_block, seen_beside, user_message
from aibridge.dialects.messages.turns import MessagesTurns
from aibridge.dialects.prompt import last_message, own_words
from aibridge.dialects.reading import (
    decoded,
    elements,
    mapping,
    reads_as_true,
    referenced_ids,
    request_object,
    string_member,
    text,
)
from aibridge.dialects.reply import StreamedReply, WholeReply
from aibridge.dialects.turns import Anchor, Hidden
from aibridge.errors import InvalidRequest
from aibridge.tools import ToolResult, Toolset
from aibridge.wire.json_array import JsonArray
from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject

_UNIQUE = frozenset({"model", "stream", "metadata", "messages", "tools", "tool_choice", "container", "mcp_servers"})
# Where ids of stored things stand (files, code execution containers), and where anything at all may stand.
_REFERENCES = ("file_id", "container")
_OPAQUE = frozenset({"input", "input_schema", "metadata"})
# What Claude Code says itself, in the midst of a conversation, stands behind the person's words.
_ASIDES = frozenset({"system"})


class MessagesRequest(msgspec.Struct, frozen=True):
    """See `aibridge.dialects.base.Request`."""

    model: str
    streaming: bool
    _object: JsonObject
    _metadata: JsonObject | None
    _last: Mapping[str, Any]  # the last message that is not an aside
    _edits: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    offers: bool = False
    _recalls: bool = False

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
        # Neither a client's tools nor those of the provider name anything stored, and they are most of an agent's body.
        return referenced_ids(self._object.without("tools"), names, _OPAQUE)

    def attributed_to(self, identifier: str) -> Self:
        user_id = {"user_id": msgspec.json.encode(identifier)}
        metadata = (
            self._metadata.with_members(user_id)
            if self._metadata is not None
            else b'{"user_id":' + user_id["user_id"] + b"}"
        )
        return replace(self, _edits={**self._edits, "metadata": metadata})

    def asking_model(self, model: str) -> Self:
        return replace(self, _edits={**self._edits, "model": msgspec.json.encode(model)})

    def asking_usage(self) -> Self:
        return self

    def body(self) -> bytes:
        return self._object.with_members(self._edits) if self._edits else self._object.text

    # -- injected tools --------------------------------------------------------------------------------

    @property
    def client_tools(self) -> Sequence[str]:
        return names(self._object.raw("tools"))

    def client_tools_at_most(self, toolset: Toolset) -> int:
        return len(self.client_tools) if (seen := seen_beside(self._object.raw("tools"), toolset)) is None else seen

    @property
    def brings_servers(self) -> bool:
        return bool(elements(self._object.raw("mcp_servers")))

    @property
    def loops(self) -> bool:
        return self.offers or self._recalls

    @property
    def anchors(self) -> Sequence[Anchor]:
        return anchors(self._object.raw("messages"))

    def offering(self, toolset: Toolset) -> Self:
        if seen_beside(self._object.raw("tools"), toolset) is None:
            refuse_our_prefix(self.client_tools)
        choice = decoded(self._object.raw("tool_choice"))
        if not toolset.tools or (choice is not None and mapping(choice).get("type") != "auto"):
            return self
        tools = offered(self._object.raw("tools"), toolset)
        return self if tools is None else replace(self, _edits={**self._edits, "tools": tools}, offers=True)

    def recalling(self, hidden: Mapping[Anchor, Sequence[Hidden]]) -> Self:
        messages = self._object.raw("messages")
        recalled = with_hidden_turns(messages, hidden) if messages is not None and hidden else messages
        if recalled is None or recalled is messages:
            return self
        return replace(self, _edits={**self._edits, "messages": recalled}, _recalls=True)

    def renamed(self, upstream_id: str) -> Self:  # noqa: ARG002 (ruff: other dialects use it)
        return self  # the history is in the body, whole

    def continued(self, turn: Turn, results: Sequence[ToolResult], *, last: bool = False) -> Self:
        known = self._edits.get("messages") or self._object.raw("messages") or b"[]"
        messages = JsonArray.parse(known) or JsonArray(b"[]", 1, [])
        said = JsonObject.parse(turn.said)
        answers = (result_block(call.call_id, result) for call, result in zip(turn.calls, results, strict=True))
        assistant = b'{"role":"assistant","content":' + (said.raw("content") or b"[]") + b"}"
        edits = {
            **self._edits,
            "messages": messages.inserting({len(messages): assistant + b"," + user_message(answers)}),
        }
        container = said.raw("container")
        if container is not None:
            edits["container"] = self._in_container(container)
        if last:
            edits["tool_choice"] = b'{"type":"none"}'
        return replace(self, _edits=edits)

    def _in_container(self, container_id: bytes) -> bytes:
        """The container that code ran in goes on being used; a client names skills beside it."""
        named = self._edits.get("container") or self._object.raw("container")
        if named is None or named[:1] != b"{":
            return container_id
        return JsonObject.parse(named).with_members({"id": container_id})

    def _place(self) -> Place:
        return place_behind(elements(self._object.raw("messages")), self._last)

    def reply(self, *, stream: bool) -> Reply:
        if self.loops:
            return LoopedReply(MessagesTurns(stream=stream, place=self._place))
        return StreamedReply(MessagesReader(), error_event) if stream else WholeReply(read_body)

    def __repr__(self) -> str:
        """Without what is long or secret."""
        return f"MessagesRequest(model={self.model!r}, streaming={self.streaming!r}, offers={self.offers!r}, _recalls={self._recalls!r})"


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
        streaming=reads_as_true(found.raw("stream")),
        _object=found,
        _metadata=parsed,
        _last=last_message(found.raw("messages"), _ASIDES),
    )


def _blocks(content: object, kind: str) -> list[dict[str, Any]]:
    if not isinstance(content, list):
        return []
    return [block for block in content if isinstance(block, dict) and block.get("type") == kind]

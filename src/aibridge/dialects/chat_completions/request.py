"""A chat request: read the model, the person's words and the lineage; name the person; keep the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from aibridge.dialects.base import Reply, Turn
from aibridge.dialects.calls import refuse_our_prefix
from aibridge.dialects.chat_completions.blocking import read_body
from aibridge.dialects.chat_completions.chat_turns import ChatTurns
from aibridge.dialects.chat_completions.errors import error_event
from aibridge.dialects.chat_completions.history import History
from aibridge.dialects.chat_completions.offering import (
    brings_servers,
    client_tools,
    offered,
    seen_beside,
    wants_json,
    wants_one_answer,
)
from aibridge.dialects.chat_completions.so_far import ReplySoFar, result_messages
from aibridge.dialects.chat_completions.splicing import readable_array
from aibridge.dialects.chat_completions.stream import ChatReader
from aibridge.dialects.looping import LoopedReply
from aibridge.dialects.prompt import last_message, own_words
from aibridge.dialects.reading import mapping, reads_as_true, referenced_ids, request_object, string_member, text
from aibridge.dialects.reply import StreamedReply, WholeReply
from aibridge.dialects.turns import Anchor, Hidden, LoopingReply
from aibridge.errors import InvalidRequest
from aibridge.tools import ToolResult, Toolset
from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject

_UNIQUE = frozenset(
    {"model", "stream", "stream_options", "messages", "user", "safety_identifier", "store", "tools", "tool_choice"}
    | {"functions", "mcp_servers"}
)
# Where ids of uploaded files stand, and where anything at all may stand (schemas of tools and of answers).
_REFERENCES = ("file_id",)
_OPAQUE = frozenset({"parameters", "schema", "arguments", "metadata"})
# Instructions that a client or a framework puts after the person's words.
_ASIDES = frozenset({"system", "developer"})


class ChatRequest(msgspec.Struct, frozen=True):
    """See `aibridge.dialects.base.Request`."""

    model: str
    streaming: bool
    _object: JsonObject
    _stream_options: JsonObject | None
    _history: History  # the client's, without what is put back
    _last: Mapping[str, Any]  # the last message that is not an aside
    _edits: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    _asks_usage: bool = False  # we do, not the client
    offers: bool = False
    _recalls: bool = False

    @property
    def background(self) -> bool:
        return False

    @property
    def stores(self) -> bool:
        return self._object.is_true("store")

    @property
    def prompt(self) -> str | None:
        if self._last.get("role") != "user":
            return None
        content = self._last.get("content")
        if isinstance(content, str):
            return own_words(content)
        parts = [mapping(part) for part in reversed(content)] if isinstance(content, list) else []
        texts = (own_words(text(part.get("text"))) for part in parts if part.get("type") == "text")
        return next((words for words in texts if words is not None), None)

    @property
    def correlating_tool_call_id(self) -> str | None:
        return text(self._last.get("tool_call_id")) or None if self._last.get("role") == "tool" else None

    @property
    def session_hint(self) -> str | None:
        return None

    @property
    def references(self) -> tuple[str, ...]:
        return referenced_ids(self._object.text, _REFERENCES, _OPAQUE)

    def attributed_to(self, identifier: str) -> Self:
        value = msgspec.json.encode(identifier)
        edits = {**self._edits, "user": value}
        if "safety_identifier" in self._object:
            edits["safety_identifier"] = value
        return replace(self, _edits=edits)

    def asking_model(self, model: str) -> Self:
        return replace(self, _edits={**self._edits, "model": msgspec.json.encode(model)})

    def asking_usage(self) -> Self:
        if not self.streaming:
            return self
        wanted = False
        if self._stream_options is not None:
            said = self._stream_options.raw("include_usage")
            if said == b"true":
                return self
            wanted = reads_as_true(said)
            options = self._stream_options.with_members({"include_usage": b"true"})
        elif self._object.raw("stream_options") in (None, b"null"):
            options = b'{"include_usage":true}'
        else:
            return self  # no object: the provider says what is wrong with it
        return replace(self, _edits={**self._edits, "stream_options": options}, _asks_usage=not wanted)

    @property
    def client_tools(self) -> Sequence[str]:
        return client_tools(self._object)

    def client_tools_at_most(self, toolset: Toolset) -> int:
        return len(self.client_tools) if (seen := seen_beside(self._object, toolset)) is None else seen

    @property
    def brings_servers(self) -> bool:
        return brings_servers(self._object)

    def offering(self, toolset: Toolset) -> Self:
        if seen_beside(self._object, toolset) is None:  # names are read only then: agents bring a hundred tools
            refuse_our_prefix(self.client_tools)
        tools = offered(self._object, toolset)
        return self if tools is None else replace(self, _edits={**self._edits, "tools": tools}, offers=True)

    @property
    def loops(self) -> bool:
        return self.offers or (self._recalls and wants_one_answer(self._object))

    @property
    def anchors(self) -> Sequence[Anchor]:
        return self._history.anchors()

    def recalling(self, hidden: Mapping[Anchor, Sequence[Hidden]]) -> Self:
        messages = self._history.recalled(hidden)
        if messages is None:
            return self
        return replace(self, _edits={**self._edits, "messages": messages}, _recalls=True)

    def renamed(self, _upstream_id: str) -> Self:
        return self  # chat goes on from its history, not from an id

    def continued(self, turn: Turn, results: Sequence[ToolResult], *, last: bool = False) -> Self:
        messages = readable_array(self._edits.get("messages") or self._object.raw("messages"))
        further = b",".join((turn.said, *result_messages(turn, results)))
        edits = {**self._edits, "messages": messages.inserting({len(messages): further})}
        # Without tools, OpenAI refuses a choice between them.
        if last and edits.get("tools", self._object.raw("tools")) not in (None, b"null", b"[]"):
            edits["tool_choice"] = b'"none"'
        return replace(self, _edits=edits)

    def body(self) -> bytes:
        return self._object.with_members(self._edits) if self._edits else self._object.text

    def reply(self, *, stream: bool) -> Reply:
        if self.loops:
            return self._looping_reply(stream=stream)
        if stream:
            return StreamedReply(ChatReader(hides_usage=self._asks_usage, stored=self.stores), error_event)
        return WholeReply(partial(read_body, stored=self.stores))

    def _looping_reply(self, *, stream: bool) -> LoopingReply:
        so_far = ReplySoFar(self._history.answering, is_json=wants_json(self._object), streamed=stream)
        return LoopedReply(ChatTurns(so_far, stream, self._asks_usage, self.stores))

    def __repr__(self) -> str:
        """Without what is long or secret."""
        return f"ChatRequest(model={self.model!r}, streaming={self.streaming!r}, offers={self.offers!r})"


def parse(body: bytes) -> ChatRequest:
    """The request in a body. Raises: InvalidRequest."""
    found = request_object(body, _UNIQUE)
    try:
        options = JsonObject.parse(found.raw("stream_options") or b"null", ("include_usage",))
    except DoubledMember as error:
        raise InvalidRequest(f"stream_options: {error}") from None
    except NotAnObject:
        options = None
    return ChatRequest(
        model=string_member(found, "model") or "",
        streaming=reads_as_true(found.raw("stream")),
        _object=found,
        _stream_options=options,
        _history=History(found),
        _last=last_message(found.raw("messages"), _ASIDES),
    )

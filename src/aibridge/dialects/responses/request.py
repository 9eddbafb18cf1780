"""A Responses request: read the model, the person's words and the lineage; set `safety_identifier`; keep the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from aibridge.dialects.base import Reply, Turn
from aibridge.dialects.reading import (
    decoded,
    elements,
    mapping,
    reads_as_true,
    request_object,
    said_in,
    string_member,
    text,
)
from aibridge.dialects.reply import StreamedReply, WholeReply
from aibridge.dialects.responses.blocking import read_body
from aibridge.dialects.responses.decoding import read
from aibridge.dialects.responses.held import HeldTurns, answers_to, response_anchor
from aibridge.dialects.responses.history import History, appended, asked_in, prepended, waiting_answers
from aibridge.dialects.responses.looping import LoopingStream, LoopingWhole
from aibridge.dialects.responses.references import is_reference, references
from aibridge.dialects.responses.shown import Shown
from aibridge.dialects.responses.stream import ResponsesReader
from aibridge.dialects.responses.tools import (
    ClientTools,
    client_tools_at_most,
    may_offer,
    refuse_ours,
    with_ours,
)
from aibridge.dialects.responses.turn_items import items_in
from aibridge.dialects.turns import Anchor, Hidden
from aibridge.tools import ToolResult, Toolset
from aibridge.wire.json_body import JsonObject

_UNIQUE = frozenset(
    {"model", "stream", "user", "safety_identifier", "input", "tools", "tool_choice", "store", "background"}
    | {"previous_response_id", "conversation", "prompt_cache_key"}
)
# What agents put around a person's words, or send in the person's name: Codex' contexts and notices, and the
# reminders that other agents write. Attributes may stand in the tag.
_ASIDES = (
    "environment_context|user_instructions|extension_context|goal_context|codex_internal_context|turn_aborted"
    "|subagent_notification|skill|hook_prompt|recommended_plugins|system-reminder"
)
_ASIDE_BEFORE = re.compile(rf"\s*<({_ASIDES})(?:\s[^>]*)?>.*?</\1>[\r\n]*", re.DOTALL)
_ASIDE_BEHIND = re.compile(rf"</({_ASIDES})>\s*\Z")
_MOST_ASIDES = 32  # each costs a copy of the words
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


class ResponsesRequest(msgspec.Struct, frozen=True):
    """See `aibridge.dialects.turns.LoopingRequest`."""

    model: str
    streaming: bool
    prompt: str | None
    correlating_tool_call_id: str | None
    _object: JsonObject
    _has_references: bool
    _added: frozenset[str]
    offers: bool = False
    _takes_tools: bool = True
    _edits: Mapping[str, bytes] = msgspec.field(default_factory=dict)

    @property
    def background(self) -> bool:
        return self._object.is_true("background")

    @property
    def stores(self) -> bool:
        return self._object.raw("store") != b"false"

    @property
    def session_hint(self) -> str | None:
        return said_in(self._object, "prompt_cache_key")

    @property
    def references(self) -> tuple[str, ...]:
        return references(self._object, has_references=self._has_references)

    def attributed_to(self, identifier: str) -> Self:
        own = msgspec.json.encode(identifier)
        names = [name for name in ("safety_identifier", "user") if name in self._object or name in self._added]
        return replace(self, _edits={**self._edits, **dict.fromkeys(names, own)}) if names else self

    def asking_model(self, model: str) -> Self:
        return replace(self, _edits={**self._edits, "model": msgspec.json.encode(model)})

    def asking_usage(self) -> Self:
        return self

    def body(self) -> bytes:
        return self._object.with_members(self._edits) if self._edits else self._object.text

    # -- injected tools --------------------------------------------------------------------------------

    @property
    def client_tools(self) -> Sequence[str]:
        return ClientTools(self._object).names()

    def client_tools_at_most(self, toolset: Toolset) -> int:
        return client_tools_at_most(self._object, toolset)

    @property
    def brings_servers(self) -> bool:
        return ClientTools(self._object).bring_servers

    @property
    def anchors(self) -> Sequence[Anchor]:
        found = dict.fromkeys(History(self._object.raw("input")).anchors(in_conversation=self._in_conversation))
        if before := string_member(self._object, "previous_response_id"):
            found[response_anchor(before)] = None
        return tuple(found)

    def offering(self, toolset: Toolset) -> Self:
        refuse_ours(self._object, toolset)
        if not toolset.tools or not self._takes_tools or not may_offer(self._object):
            return self
        return self._with({"tools": with_ours(self._object, toolset)}, offers=True)

    def recalling(self, hidden: Mapping[Anchor, Sequence[Hidden]]) -> Self:
        given = self._object.raw("input")
        recalled = History(given).recalling(hidden)
        if before := string_member(self._object, "previous_response_id"):
            answers = waiting_answers(hidden, before)
            if answers:
                recalled = prepended(recalled or given, answers)
        return self if recalled is None else self._with({"input": recalled})

    def renamed(self, upstream_id: str) -> Self:
        if self._object.raw("previous_response_id") in (None, b"null"):
            return self
        return self._with({"previous_response_id": msgspec.json.encode(upstream_id)})

    def continued(self, turn: Turn, results: Sequence[ToolResult], *, last: bool = False) -> Self:
        answers = answers_to(turn, results)
        # A conversation has what was asked, and the turn, once the turn is complete.
        given = None if self._in_conversation else self._now("input")
        said = [] if self._in_conversation else [raw for raw, _ in items_in(turn.said)]
        edits = {"input": appended(given, [*said, *answers])}
        return self._with({**edits, "tool_choice": b'"none"'} if last else edits)

    @property
    def _in_conversation(self) -> bool:
        return self._object.raw("conversation") not in (None, b"null")

    def _now(self, name: str) -> bytes | None:
        return self._edits.get(name) or self._object.raw(name)

    def _with(self, edits: Mapping[str, bytes], *, offers: bool | None = None) -> Self:
        return replace(self, _edits={**self._edits, **edits}, offers=self.offers if offers is None else offers)

    @property
    def loops(self) -> bool:
        # The model may call what it remembers; and an id that we put in the client's place is not for its eyes.
        return self.offers or not self._edits.keys().isdisjoint(("input", "previous_response_id"))

    def reply(self, *, stream: bool) -> Reply:
        if self.loops:
            asked_after = self._object.raw("previous_response_id") if "previous_response_id" in self._edits else None
            asked = partial(asked_in, self._object.raw("input"))
            held = HeldTurns(stored=self.stores, in_conversation=self._in_conversation, asked=asked)
            return (LoopingStream if stream else LoopingWhole)(Shown(asked_after), held, stored=self.stores)
        if not stream:
            return WholeReply(partial(read_body, stored=self.stores))
        reader = ResponsesReader(stored=self.stores)
        return StreamedReply(reader, reader.error_event)

    def __repr__(self) -> str:
        """Without what is long or secret."""
        return f"ResponsesRequest(model={self.model!r}, streaming={self.streaming!r}, correlating_tool_call_id={self.correlating_tool_call_id!r}, _has_references={self._has_references!r}, _added={self._added!r}, offers={self.offers!r}, _takes_tools={self._takes_tools!r})"


def parse(body: bytes) -> ResponsesRequest:
    """The request in a body. Raises: InvalidRequest."""
    return _request(body, frozenset({"safety_identifier"}))


def parse_compaction(body: bytes) -> ResponsesRequest:
    """The same for `/responses/compact`, which refuses `safety_identifier`: what the client sent is overwritten."""
    return _request(body, frozenset(), takes_tools=False)


def _request(body: bytes, added: frozenset[str], *, takes_tools: bool = True) -> ResponsesRequest:
    found = request_object(body, _UNIQUE)
    items = [item for raw in elements(found.raw("input")) if (item := read(_ITEM, raw)) is not None]
    words = said_in(found, "input")
    return ResponsesRequest(
        model=string_member(found, "model") or "",
        streaming=reads_as_true(found.raw("stream")),
        prompt=_own_words(words) if words is not None else _prompt(items),
        correlating_tool_call_id=next(filter(None, map(_answered_call, reversed(items))), None),
        _object=found,
        _has_references=any(is_reference(item.type, item.role) for item in items),
        _added=added,
        _takes_tools=takes_tools,
    )


def _prompt(items: Sequence[_InputItem]) -> str | None:
    last = next((item for item in reversed(items) if not _is_aside(item)), None)
    if last is None or last.role != "user" or last.type not in (None, "message"):
        return None
    content = decoded(bytes(last.content))
    said = [content] if isinstance(content, str) else _texts(content)
    return "\n".join(words for one in said if (words := _own_words(one)) is not None) or None


def _is_aside(item: _InputItem) -> bool:
    """Neither a person's words nor an answer: a reference, or what the client says to the model."""
    return is_reference(item.type, item.role) or (
        item.type in (None, "message") and item.role in ("system", "developer")
    )


def _answered_call(item: _InputItem) -> str | None:
    """The call whose result an item is. A result of the local shell has the call's id for its own."""
    kind = text(item.type)
    if not kind.endswith("_call_output") and kind != "tool_search_output":
        return None
    return text(item.call_id) or (text(item.id) if kind == "local_shell_call_output" else "") or None


def _texts(content: object) -> Iterator[str]:
    for part in map(mapping, content) if isinstance(content, list) else ():
        if part.get("type") == "input_text":
            yield text(part.get("text"))


def _own_words(said: str) -> str | None:
    """The text without what an agent put around it; None when nothing is left.

    An aside that does not end, or that stands in the midst of other words, is taken for the person's.
    """
    if _FOLDER_INSTRUCTIONS.fullmatch(said):
        return None
    words = said
    for _ in range(_MOST_ASIDES):
        if (aside := _ASIDE_BEFORE.match(words)) is not None:
            words = words[aside.end() :]
        elif (closing := _ASIDE_BEHIND.search(words)) is not None and (start := words.rfind(f"<{closing[1]}")) >= 0:
            words = words[:start].rstrip("\r\n")
        else:
            break
    return words if words.strip() else None

"""Output items: which are calls, which hold thoughts, and under which ids the provider keeps something.

An item is decoded one level deep: an image of several megabytes in a `result` is never made into a string.
Source: https://platform.openai.com/docs/api-reference/responses/object, `output`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from aibridge.dialects.base import Thought, ToolUse
from aibridge.dialects.reading import decoded, mapping, text, tool_input
from aibridge.dialects.responses.decoding import read
from aibridge.records import JsonValue

Item = Mapping[str, msgspec.Raw]

WRITTEN = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
    "code_interpreter_call": "code",
}
"""The member of a call that a stream spells out piece by piece."""

_ITEM = msgspec.json.Decoder(dict[str, msgspec.Raw])
# What says nothing of what was asked for: names of the call itself, and what came of it.
_NOT_ASKED = frozenset(
    {"type", "id", "call_id", "status", "caller", "created_by", "fingerprint"}
    | {"output", "outputs", "result", "results", "error", "svg_usage"}
)


def item_of(raw: bytes) -> Item | None:
    """An item's members; None when it is no object."""
    return read(_ITEM, raw)


def value_of(item: Item, name: str) -> Any:
    return decoded(bytes(item[name])) if name in item else None


def text_of(item: Item, name: str) -> str:
    """A member that is a string; "" without one."""
    return text(value_of(item, name))


def names_of(item: Item) -> set[str]:
    """The ids that an item goes by: its own, and its call's."""
    return {text_of(item, "id"), text_of(item, "call_id")} - {""}


def is_call(kind: str) -> bool:
    """True for client-defined and hosted tools alike, and for those that are yet to be invented."""
    return kind.endswith("_call") or kind == "program"


def tool_use(item: Item, response_id: str | None) -> ToolUse | None:
    """The call that an item is, if it is one. A hosted tool goes by the type of its item."""
    tool = text_of(item, "type")
    if not is_call(tool):
        return None
    asked: JsonValue
    match tool:
        case "function_call":
            tool, asked = _name(item), tool_input(text_of(item, "arguments"))
        case "custom_tool_call":
            tool, written = _name(item), text_of(item, "input")
            asked = written if written.strip() else None
        case _:
            asked = _asked(item)
    call_id = text_of(item, "call_id") or text_of(item, "id") or None
    return ToolUse(response_id=response_id, call_id=call_id, tool=tool, input=asked)


def thoughts(item: Item) -> Iterator[Thought]:
    """Reasoning that can be read, part by part. Encrypted reasoning without a summary has none."""
    match text_of(item, "type"):
        case "reasoning":
            yield from _texts(item, "summary", "summary_text", "reasoning_summary")
            yield from _texts(item, "content", "reasoning_text", "reasoning")
        case "message" if is_commentary(item):
            yield from _texts(item, "content", "output_text", "commentary")


def is_commentary(item: Item) -> bool:
    return text_of(item, "phase") == "commentary"


def containers(item: Item) -> Iterator[str]:
    """The containers that a call ran in. They outlive the response, also one that is not stored."""
    environment = item_of(item.get("environment", b"null"))
    for place in (item, environment or {}):
        if found := text_of(place, "container_id"):
            yield found


def with_written(item: Item, written: str) -> Item:
    """An item of a stream that broke off, with what had been written of it."""
    name = WRITTEN.get(text_of(item, "type"))
    return {**item, name: msgspec.Raw(msgspec.json.encode(written))} if name and written else item


def _name(item: Item) -> str:
    """The tool's name, with a dot behind its namespace: no name of a function holds one."""
    namespace, name = text_of(item, "namespace"), text_of(item, "name")
    return f"{namespace}.{name}" if namespace else name


def _asked(item: Item) -> JsonValue:
    asked = {name: value_of(item, name) for name in item if name not in _NOT_ASKED}
    if isinstance(asked.get("arguments"), str):
        asked["arguments"] = tool_input(asked["arguments"])
    if isinstance(action := asked.get("action"), dict):
        asked["action"] = {name: value for name, value in action.items() if name != "sources"}
    return {name: value for name, value in asked.items() if value is not None} or None


def _texts(item: Item, name: str, kind: str, source: str) -> Iterator[Thought]:
    parts = value_of(item, name)
    for part in map(mapping, parts) if isinstance(parts, list) else ():
        if part.get("type") == kind and (content := text(part.get("text"))):
            yield Thought(content=content, source=source)

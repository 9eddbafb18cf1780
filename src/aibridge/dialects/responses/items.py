"""Output items: which are calls, which hold thoughts, and under which ids the provider keeps something.

An item is decoded one level deep: an image of several megabytes in a `result` is never made into a string.
Source: https://platform.openai.com/docs/api-reference/responses/object, `output`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from aibridge.dialects.base import Thought, ToolUse
from aibridge.dialects.reading import decoded, tool_input
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
    try:
        return _ITEM.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def text_of(item: Item, name: str) -> str | None:
    value = decoded(item.get(name))
    return value if isinstance(value, str) else None


def is_call(kind: str | None) -> bool:
    """True for client-defined and hosted tools alike, and for those that are yet to be invented."""
    return kind is not None and (kind.endswith("_call") or kind == "program")


def tool_use(item: Item, response_id: str | None) -> ToolUse | None:
    """The call that an item is, if it is one. A hosted tool goes by the type of its item."""
    kind = text_of(item, "type")
    if kind is None or not is_call(kind):
        return None
    asked: JsonValue
    match kind:
        case "function_call":
            tool, asked = _name(item), tool_input(_written(item, "arguments"))
        case "custom_tool_call":
            tool, asked = _name(item), _written(item, "input")
            asked = asked if asked.strip() else None
        case _:
            tool, asked = kind, _asked(item)
    call_id = text_of(item, "call_id") or text_of(item, "id")
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


def with_written(item: Item, text: str) -> Item:
    """An item of a stream that broke off, with what had been written of it."""
    name = WRITTEN.get(text_of(item, "type") or "")
    return {**item, name: msgspec.Raw(msgspec.json.encode(text))} if name and text else item


def _name(item: Item) -> str:
    """The tool's name, with a dot behind its namespace: no name of a function holds one."""
    namespace, name = text_of(item, "namespace"), text_of(item, "name") or ""
    return f"{namespace}.{name}" if namespace else name


def _written(item: Item, name: str) -> str:
    """A text that the model wrote, as far as it can be read: what is no Unicode is kept as it stands."""
    raw = item.get(name, b"")
    value = decoded(raw) if raw else ""
    return value if isinstance(value, str) else bytes(raw).decode("utf-8", "replace")


def _asked(item: Item) -> JsonValue:
    asked = {name: decoded(raw) for name, raw in item.items() if name not in _NOT_ASKED}
    if isinstance(asked.get("arguments"), str):
        asked["arguments"] = tool_input(asked["arguments"])
    if isinstance(action := asked.get("action"), dict):
        asked["action"] = {name: value for name, value in action.items() if name != "sources"}
    return {name: value for name, value in asked.items() if value is not None} or None


def _texts(item: Item, name: str, kind: str, source: str) -> Iterator[Thought]:
    parts = decoded(item.get(name))
    for part in parts if isinstance(parts, list) else ():
        text = part.get("text") if isinstance(part, dict) and part.get("type") == kind else None
        if isinstance(text, str) and text:
            yield Thought(content=text, source=source)

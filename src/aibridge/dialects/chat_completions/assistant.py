"""An assistant message put together from the chunks of a stream, as the next request carries it.

Nothing that the model said is left out, also what we do not know (signatures, reasoning in a server's own words):
strings are joined, lists are merged by `index`, or made longer. What a chunk only says to hold a place (null) is not
said. Source: https://platform.openai.com/docs/api-reference/chat-streaming and the `accumulate_delta` of the SDK.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from aibridge.dialects.chat_completions.calls import Called, Calls
from aibridge.dialects.chat_completions.chunks import choices, decoded_chunk
from aibridge.dialects.reading import Kept, mapping, text
from aibridge.wire.sse import parse_block

# Said again with every piece of one thing, where a server says them again.
_WHOLE = frozenset({"id", "type", "index", "role", "name", "format"})
_LISTS_OF_CALLS = ("tool_calls", "function_call")


def assembled(blocks: Iterable[bytes]) -> dict[str, Any]:
    """The message that the blocks of a stream say."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    pieces, extras = Calls(Kept()), dict[int, dict[str, Any]]()
    for block in blocks:
        data = parse_block(block).data
        chunk = decoded_chunk(data) if data else None
        for choice in choices(chunk)[:1] if chunk else ():  # n is 1 where tools are offered
            delta = mapping(choice.get("delta"))
            _merge(message, {name: value for name, value in delta.items() if name not in _LISTS_OF_CALLS})
            numbers = iter(pieces.add(0, {"tool_calls": delta.get("tool_calls")}))
            for piece in _objects(delta.get("tool_calls")):
                _merge(extras.setdefault(next(numbers), {}), _without_what_is_known(piece))
    message = {name: value for name, value in message.items() if value or name == "content"}
    message |= {"role": "assistant", "content": message["content"] or None}
    if calls := pieces.take():
        message["tool_calls"] = [_call(call, extras.get(call.number, {})) for call in calls]
    return message


def _call(call: Called, extra: Mapping[str, Any]) -> dict[str, Any]:
    kind, written = ("custom", "input") if call.custom else ("function", "arguments")
    named = {"name": call.name, written: call.written, **mapping(extra.get(kind))}
    return {**extra, "id": call.answered_as, "type": kind, kind: named}


def _without_what_is_known(piece: Mapping[str, Any]) -> dict[str, Any]:
    kind, written = ("custom", "input") if isinstance(piece.get("custom"), dict) else ("function", "arguments")
    named = {key: value for key, value in mapping(piece.get(kind)).items() if key not in ("name", written)}
    rest = {key: value for key, value in piece.items() if key not in ("id", "index", "type", kind)}
    return {**rest, kind: named} if named else rest


def _merge(into: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        known = into.get(name)
        if value is None:
            continue
        if isinstance(known, str) and isinstance(value, str) and name not in _WHOLE:
            into[name] = known + value
        elif isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value)
        elif isinstance(value, list):
            into[name] = _longer(known if isinstance(known, list) else [], value)
        elif value != "" or known is None:
            into[name] = value


def _longer(known: list[Any], further: list[Any]) -> list[Any]:
    for value in further:
        index = value.get("index") if isinstance(value, dict) else None
        same = (
            [one for one in known if isinstance(one, dict) and one.get("index") == index] if index is not None else []
        )
        if same:
            _merge(same[-1], value)
        else:
            known.append(value)
    return known


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def said_in(content: Any) -> str:
    """The text in the `content` of a message."""
    if isinstance(content, str):
        return content
    return "".join(text(part.get("text")) for part in _objects(content) if part.get("type") == "text")

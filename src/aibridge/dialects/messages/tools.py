"""Injected tools as the Messages API writes them: a definition, a result, the next request's messages.

The same tools and the same results give the same bytes each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from aibridge.dialects.calls import in_words, is_ours, object_schema
from aibridge.dialects.reading import decoded, elements, mapping, text
from aibridge.tools import Image, Text, Tool, ToolResult, Toolset
from aibridge.wire.json_array import with_first

# What the API takes as an image in base64 (https://docs.claude.com/en/docs/build-with-claude/vision).
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


class _Named(msgspec.Struct):
    name: Any = None


_NAMED = msgspec.json.Decoder(_Named)
_ALL_NAMED = msgspec.json.Decoder(list[_Named])


def definition(tool: Tool) -> bytes:
    """A tool as it stands in `tools`."""
    known = {"name": tool.id, "description": tool.description} if tool.description else {"name": tool.id}
    return msgspec.json.encode({**known, "input_schema": msgspec.Raw(object_schema(tool.schema))})


def offered(tools: bytes | None, toolset: Toolset) -> bytes | None:
    """`tools` with ours before the client's, whose cache breakpoints stay where they are; None for what is no list."""
    ours = toolset.written("messages", definition)
    if tools is None or tools == b"null":
        return b"[" + ours + b"]"
    return with_first(tools, ours)


def names(tools: bytes | None) -> tuple[str, ...]:
    """The names of the tools in a list, hosted ones included."""
    if tools is None:
        return ()
    try:
        return tuple(name for one in _ALL_NAMED.decode(tools) if (name := text(one.name)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # something odd is among them
        return tuple(name for raw in elements(tools) if (name := _name(raw)))


def seen_beside(tools: bytes | None, toolset: Toolset) -> int | None:
    """How many tools of the client's stand beside ours; None: one of them has our prefix."""
    return 0 if tools is None else toolset.beside("messages", tools, _seen)


def _seen(tools: bytes) -> int | None:
    found = names(tools)
    return None if any(map(is_ours, found)) else len(found)


def result_block(call_id: str, result: ToolResult) -> bytes:
    """The answer to one call.

    The API refuses texts without a word, and in a result that is an error everything but text, and none at all.
    """
    block: dict[str, object] = {"type": "tool_result", "tool_use_id": call_id}
    if result.error is not None:
        said = in_words(result.content)
        block["content"] = [{"type": "text", "text": said if said.strip() else result.error or "The call failed."}]
        block["is_error"] = True
    else:
        block["content"] = [part for one in result.content if (part := _part(one)) is not None]
    return msgspec.json.encode(block)


def user_message(blocks: Iterable[bytes]) -> bytes:
    return b'{"role":"user","content":[' + b",".join(blocks) + b"]}"


def assistant_message(blocks: Iterable[bytes]) -> bytes:
    return b'{"role":"assistant","content":[' + b",".join(blocks) + b"]}"


def _name(tool: msgspec.Raw) -> str:
    try:
        return text(_NAMED.decode(tool).name)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text(mapping(decoded(bytes(tool))).get("name"))


def _part(part: Text | Image) -> dict[str, object] | None:
    if isinstance(part, Image) and part.media_type in _IMAGES:
        source = {"type": "base64", "media_type": part.media_type, "data": part.data}
        return {"type": "image", "source": source}
    said = in_words((part,))
    return {"type": "text", "text": said} if said.strip() else None

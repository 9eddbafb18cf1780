"""Chunks of a chat stream, as far as they are read, and the traces that our asking for usage leaves in them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from aibridge.dialects.reading import decoded, mapping
from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject


class Chunk(msgspec.Struct):
    """What is read of a chunk, whatever it is."""

    id: Any = None
    object: Any = None
    model: Any = None
    choices: Any = None
    usage: Any = None
    error: Any = None
    service_tier: Any = None


_CHUNK = msgspec.json.Decoder(Chunk)
# Where OpenAI writes it: what stands before the last brace is a member of the outermost object.
_LAST_MEMBER = re.compile(rb',"usage":null((?:,"obfuscation":"[A-Za-z0-9]*+")?\})\Z').search
_PLAIN = frozenset({"content", "role"})


def decoded_chunk(data: bytes) -> Chunk | None:
    """The chunk in an event's data; None when it is no JSON object."""
    try:
        chunk = _CHUNK.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Servers cut emoji in two, and worse.
        found = decoded(data)
        if not isinstance(found, dict):
            return None
        chunk = msgspec.convert(found, Chunk)
    if chunk.object == "error" and not chunk.error:
        chunk.error = decoded(data)  # vLLM's, without an `error` around it
    return chunk


def choices(chunk: Chunk) -> list[dict[str, Any]]:
    found = chunk.choices
    return [choice for choice in found if isinstance(choice, dict)] if isinstance(found, list) else []


def is_plain(chunk: Chunk) -> bool:
    """Nothing but a piece of text can differ in a chunk that otherwise looks the same."""
    if chunk.usage is not None or not isinstance(chunk.choices, list) or len(chunk.choices) != 1:
        return False
    choice = mapping(chunk.choices[0])
    delta = mapping(choice.get("delta"))
    return not choice.get("finish_reason") and not any(delta[name] for name in delta if name not in _PLAIN)


def without_traces(data: bytes, chunk: Chunk) -> bytes:
    """A chunk's data without what is there only because we asked for usage; b"" when nothing is left."""
    if b'"usage"' not in data:
        return data
    if chunk.usage is not None:
        return data if chunk.choices else b""
    if (found := _LAST_MEMBER(data)) is not None:
        return data[: found.start()] + found[1]
    try:
        return JsonObject.parse(data, ("usage",)).without("usage")
    except (NotAnObject, DoubledMember):
        return data

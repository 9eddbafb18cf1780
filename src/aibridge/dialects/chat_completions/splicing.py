"""Edits of chunks and messages that leave every other byte as it came."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from aibridge.dialects.reading import decoded
from aibridge.wire.json_array import JsonArray
from aibridge.wire.json_body import JsonObject, NotAnObject

EMPTY = JsonArray(b"[]", 1, [])


def readable_object(text: bytes) -> JsonObject:
    """The object in a text that was decoded before. What only a tolerant reading takes is written anew."""
    try:
        return JsonObject.parse(text)
    except NotAnObject:
        found = decoded(text)
        return JsonObject.parse(msgspec.json.encode(found if isinstance(found, dict) else {}))


def readable_array(text: bytes | None) -> JsonArray:
    """The same for an array; an empty one in the place of anything else."""
    array = JsonArray.parse(text or b"")
    if array is None:
        found = decoded(text)
        array = JsonArray.parse(msgspec.json.encode(found if isinstance(found, list) else []))
    return array or EMPTY


def changed(text: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """The object with these members; None: without it."""
    if not changes:
        return text
    found = readable_object(text)
    text = found.with_members({name: value for name, value in changes.items() if value is not None})
    for name, value in changes.items():
        if value is None:
            text = JsonObject.parse(text).without(name)
    return text

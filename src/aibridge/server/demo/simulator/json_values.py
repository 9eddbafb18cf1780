"""Narrow what JSON brought, without ever failing: a value of the wrong type reads as an empty one."""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

JsonObject: TypeAlias = Mapping[str, object]


def as_object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def as_objects(value: object) -> list[JsonObject]:
    """The objects in a list; whatever else is in it is left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def as_count(value: object) -> int | None:
    """A whole number; a bool is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def compact(value: object) -> bytes:
    return msgspec.json.encode(value)


def indented(value: object) -> bytes:
    """JSON as OpenAI sends it in a blocking answer."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2)


def event(value: JsonObject, *, named: bool) -> bytes:
    """One server-sent event; a named one says its ``type`` in an ``event:`` line too."""
    name = f"event: {as_text(value.get('type'))}\n".encode() if named else b""
    return name + b"data: " + compact(value) + b"\n\n"

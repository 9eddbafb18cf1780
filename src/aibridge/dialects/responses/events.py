"""The events of a Responses stream, as far as they are read.

Nothing here is strict: a member of an unexpected type is not read, and the event still counts.
Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from typing import Any

import msgspec

from aibridge.dialects.reading import text
from aibridge.dialects.responses.items import Item, text_of

TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})

Place = int | str
"""Where an item stands: its index in the output, or its id on servers that do not say the index."""


class Event(msgspec.Struct):
    type: Any = None
    response: msgspec.Raw = msgspec.Raw(b"null")
    item: msgspec.Raw = msgspec.Raw(b"null")
    sequence_number: Any = None
    output_index: Any = None
    item_id: Any = None
    summary_index: Any = None
    content_index: Any = None
    delta: Any = None
    error: Any = None
    code: Any = None
    message: Any = None


def kind_of(event: Event, name: bytes | None) -> str:
    """What happened. An event of the name `error`, and one that holds an error and no type, are errors for the SDKs."""
    if name == b"error" or (event.error and not text(event.type)):
        return "error"
    return text(event.type) or (name or b"").decode("utf-8", "replace")


def place_of(event: Event, item: Item | None = None) -> Place:
    """Which item an event is about: the place in the output says it, and the id where a server leaves that out."""
    if isinstance(event.output_index, int):
        return event.output_index
    return text(event.item_id) if item is None else text_of(item, "id")

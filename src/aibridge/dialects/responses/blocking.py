"""A whole Responses answer: one JSON body, a `response` or (of `/responses/compact`) a `response.compaction`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from aibridge.dialects.base import Fact, StoredIds, Turn, Unreadable
from aibridge.dialects.reading import elements, mapping, text
from aibridge.dialects.reply import WholeAnswer
from aibridge.dialects.responses.decoding import read
from aibridge.dialects.responses.errors import failure
from aibridge.dialects.responses.items import Item, containers, item_of, text_of, thoughts, tool_use
from aibridge.dialects.responses.usage import token_usage


class ResponseObject(msgspec.Struct):
    """What is read of a response. Nothing here is strict: a member of an unexpected type is not read."""

    id: Any = None
    object: Any = None
    status: Any = None
    error: Any = None
    model: Any = None
    usage: Any = None
    service_tier: Any = None
    conversation: Any = None
    output: msgspec.Raw = msgspec.Raw(b"null")
    tools: msgspec.Raw = msgspec.Raw(b"null")


_OBJECTS = ("response", "response.compaction")
_RESPONSE = msgspec.json.Decoder(ResponseObject)


def response_object(raw: bytes) -> ResponseObject | None:
    """The response in a JSON text; None when it is no object."""
    return read(_RESPONSE, raw)


def output_items(response: ResponseObject) -> Iterator[Item]:
    for raw in elements(bytes(response.output)):
        if (item := item_of(raw)) is not None:
            yield item


def own_ids(response: ResponseObject) -> Iterator[str]:
    """Ids under which a stored response is kept: its own, and its conversation's."""
    conversation = text(response.conversation) or text(mapping(response.conversation).get("id"))
    yield from (found for found in (text(response.id), conversation) if found)


def read_body(body: bytes, *, stored: bool) -> WholeAnswer:
    """Facts of a response; a body of another shape is unreadable and passes all the same."""
    response = response_object(body)
    if response is None or response.object not in _OBJECTS:
        if response is not None and response.error:
            error_type, message = failure(response.error)
            return WholeAnswer(Turn(outcome="failed", error_type=error_type, error_message=message))
        return WholeAnswer(Turn(outcome="complete"), (Unreadable("the answer is no response object"),))
    response_id = text(response.id) or None
    items = list(output_items(response))
    ids = dict.fromkeys(own_ids(response)) if stored else {}
    for item in items:
        if stored and (item_id := text_of(item, "id")):
            ids[item_id] = None
        ids.update(dict.fromkeys(containers(item)))
    facts: list[Fact] = [StoredIds(tuple(ids))] if ids else []
    facts += (thought for item in items for thought in thoughts(item))
    facts += (use for item in items if (use := tool_use(item, response_id)) is not None)
    if isinstance(response.usage, dict):
        model, tier = response.model, response.service_tier
        facts.append(token_usage(response.usage, response_id, model=model, tier=tier, partial=False))
    if response.status != "failed":
        return WholeAnswer(Turn(outcome="complete", response_id=response_id), tuple(facts))
    error_type, message = failure(response.error)
    turn = Turn(outcome="failed", response_id=response_id, error_type=error_type, error_message=message)
    return WholeAnswer(turn, tuple(facts))

"""Stored things that a Responses body names: whoever sends it must own them, so none may slip through unseen.

Source: https://platform.openai.com/docs/api-reference/responses/create, and the tools that take files and containers.
"""

from __future__ import annotations

import re

from aibridge.dialects.reading import body_object, elements, referenced_ids, string_member
from aibridge.errors import InvalidRequest
from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject

# Where ids of stored things stand, also in items of `input` that a client sends again: a code interpreter with an
# automatic container goes on in the one that an earlier call names.
_NAMES = (
    "previous_response_id",
    "conversation",
    "comparison_response_id",
    "file_id",
    "file_ids",
    "vector_store_ids",
    "container",
    "container_id",
)
# Where anything at all may stand under any name (arguments, schemas, labels), and what was found rather than asked.
_OPAQUE = frozenset(
    {"arguments", "parameters", "schema", "input_schema", "metadata", "client_metadata", "headers"}
    | {"annotations", "results", "attributes"}
)
_READ = ("type", "role", "id")
_LISTS = ("input", "items")  # where items stand
# Items that are no references can be told without a closer look, unless a name may be written with escapes.
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")


def references(found: JsonObject, *, has_references: bool) -> tuple[str, ...]:
    """All ids, in order, without doubles. `has_references`: an item of `input` is known to be a reference.

    Raises: InvalidRequest, when two parsers could read an item differently.
    """
    ids = dict.fromkeys(referenced_ids(found.text, _NAMES, _OPAQUE))
    given = found.raw("input")
    if given is not None and (has_references or b"item_reference" in given or _ESCAPED_LETTER.search(given)):
        ids.update(dict.fromkeys(stored for raw in elements(given) if (stored := _referenced(raw)) is not None))
    return tuple(ids)


def references_in(body: bytes) -> tuple[str, ...]:
    """The same in a body that is passed on unread: a count of tokens, a conversation, or items for one."""
    if not body.strip():
        return ()
    found = body_object(body, _LISTS)
    ids = dict.fromkeys(referenced_ids(body, _NAMES, _OPAQUE))
    items = [raw for name in _LISTS for raw in elements(found.raw(name))]
    ids.update(dict.fromkeys(stored for raw in items if (stored := _referenced(raw)) is not None))
    return tuple(ids)


def is_reference(kind: object, role: object) -> bool:
    """`type` may be left out of a reference; then it is an item without a role, and nothing else that we know."""
    return kind == "item_reference" or (kind is None and role is None)


def _referenced(raw: bytes) -> str | None:
    try:
        item = JsonObject.parse(bytes(raw), _READ)
    except DoubledMember as error:
        raise InvalidRequest(f"input: {error}") from None
    except NotAnObject:
        raise InvalidRequest("input: every item must be an object") from None
    kind, role = string_member(item, "type"), string_member(item, "role")
    return string_member(item, "id") if is_reference(kind, role) else None

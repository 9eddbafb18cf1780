"""What the dialects say of calls of injected tools: whose a call is, which must not run, a result in words, anchors.

A call whose name has our prefix is ours to answer, also when no such tool was offered.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence

from aibridge.dialects.reading import tool_input
from aibridge.errors import InvalidRequest
from aibridge.tools import PREFIX, Image, Text
from aibridge.wire.json_body import JsonObject, NotAnObject

# What Anthropic and OpenAI refuse at the top of a tool's schema, and with it the whole request:
# "input_schema does not support oneOf, allOf, or anyOf at the top level"; "schema must have type 'object' and not have
# 'oneOf'/'anyOf'/'allOf'/'enum'/'not' at the top level".
_NOT_AT_THE_TOP = ("oneOf", "anyOf", "allOf", "enum", "not")
_PREFIX = PREFIX.encode()
_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")
_LONGEST_ANCHOR = 128  # characters; see `turns.Anchor`


def is_ours(name: str) -> bool:
    """A call of this name is answered by the gateway and hidden from the client."""
    return name.startswith(PREFIX)


def may_name_ours(text: bytes) -> bool:
    """Whether JSON may hold a name with our prefix, whose letters could be escaped. Nearly always False, and quick."""
    return _PREFIX in text or _ESCAPED_LETTER.search(text) is not None


def unrunnable(arguments: str, *, truncated: bool) -> str | None:
    """Why a call with these arguments must not be run, in words for the model; None: it may be."""
    if truncated:
        return "This call was cut off before it was complete, so it was not run."
    if not arguments.strip():
        return None
    read = tool_input(arguments)
    if isinstance(read, dict):
        return None
    what = "are not valid JSON" if isinstance(read, str) and read == arguments else "are not a JSON object"
    return f"The arguments of this call {what}, so it was not run. Call the tool again with a JSON object."


def refuse_our_prefix(names: Iterable[str]) -> None:
    """Raises: InvalidRequest, when a tool of the client's is called as only ours may be."""
    for name in names:
        if is_ours(name):
            # The name comes from the client: it is quoted back to nobody else, and cut.
            raise InvalidRequest(f"tools: names that begin with {PREFIX} are reserved: {name[:64]}")


def object_schema(schema: bytes) -> bytes:
    """A tool's schema as every provider takes it; nearly always the very bytes."""
    try:
        found = JsonObject.parse(schema)
    except NotAnObject:
        return b'{"type":"object","properties":{}}'
    refused = [*_NOT_AT_THE_TOP, *(["required"] if found.raw("required") == b"null" else [])]
    for name in refused:
        while name in found:  # one that stands twice too
            found = JsonObject.parse(found.without(name))
    changes: dict[str, bytes] = {}
    if found.raw("type") != b'"object"':
        changes["type"] = b'"object"'
    if found.raw("properties") in (None, b"null"):  # which OpenAI calls "object schema missing properties"
        changes["properties"] = b"{}"
    return found.with_members(changes) if changes else found.text


def in_words(content: Sequence[Text | Image]) -> str:
    """A result for a dialect whose results are text: an image becomes a note of what it is."""
    return "\n".join(part.text if isinstance(part, Text) else _note(part) for part in content)


def anchor(kind: str, value: str | bytes) -> str:
    """`kind:value`, or a digest in the value's place where that is long or holds content (bytes always do)."""
    if isinstance(value, str) and len(kind) + 1 + len(value) <= _LONGEST_ANCHOR:
        return f"{kind}:{value}"
    digest = hashlib.sha256(value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")).digest()
    return f"{kind}:{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def _note(image: Image) -> str:
    return f"[an image of type {image.media_type}, {len(image.data) * 3 // 4} bytes, which cannot be shown here]"

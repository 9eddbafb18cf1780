"""Function tools in the shape that OpenAI's interfaces take, shared by the dialects that speak it.

Source: https://platform.openai.com/docs/guides/function-calling: `parameters` is a JSON schema of an object.
"""

from __future__ import annotations

from aibridge.wire.json_body import JsonObject, NotAnObject

_OF_ANYTHING = b'{"type":"object","properties":{}}'


def parameters(schema: bytes) -> bytes:
    """A tool's schema, with what the provider refuses one without: `properties`, and no `required` that is null."""
    try:
        found = JsonObject.parse(schema)
        if found.raw("required") == b"null":
            found = JsonObject.parse(found.without("required"))
    except NotAnObject:
        return _OF_ANYTHING
    missing = {"type": b'"object"', "properties": b"{}"}
    return found.with_members({name: value for name, value in missing.items() if found.raw(name) in (None, b"null")})

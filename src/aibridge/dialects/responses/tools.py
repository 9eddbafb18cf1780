"""Injected tools in a request, and in the echo of it: put behind the client's own, and cut out again.

The client's tools keep their bytes, so that what the provider has cached of them stays valid.
Source: https://platform.openai.com/docs/api-reference/responses/create, `tools` and `tool_choice`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from aibridge.dialects.calls import is_ours, may_name_ours, object_schema, refuse_our_prefix
from aibridge.dialects.reading import decoded, elements, mapping, string_member, text
from aibridge.errors import InvalidRequest
from aibridge.tools import PREFIX, Tool, Toolset
from aibridge.wire.json_array import JsonArray
from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject

_OURS = b'"' + PREFIX.encode()
_READ = ("type", "name", "tools")


class _MaybeNamespace(msgspec.Struct):
    tools: msgspec.Raw = msgspec.Raw(b"")


_ALL = msgspec.json.Decoder(list[_MaybeNamespace])


class ClientTools:
    """The client's own tools, as they stand in a body."""

    __slots__ = ("_tools",)

    def __init__(self, found: JsonObject) -> None:
        """Raises: InvalidRequest, when two parsers could read a tool differently."""
        self._tools = [one for raw in _elements(found.raw("tools")) if (one := _tool(raw)) is not None]

    def names(self) -> tuple[str, ...]:
        """Functions and custom tools by their names, those in a namespace with it and a dot before."""
        return tuple(name for one in self._tools for name in _names(one))

    def bare_names(self) -> Iterator[str]:
        """The same without namespaces: each must be free of our prefix, wherever it stands."""
        for one in self._tools:
            yield from _own_name(one)
            for inner in _inner(one):
                yield from _own_name(inner)

    @property
    def bring_servers(self) -> bool:
        return any(string_member(one, "type") == "mcp" for outer in self._tools for one in (outer, *_inner(outer)))


def client_tools_at_most(found: JsonObject, toolset: Toolset) -> int:
    """Not less than `ClientTools.names` has. Raises: InvalidRequest, as that does."""
    seen = _seen_beside(found, toolset)
    return len(ClientTools(found).names()) if seen is None else seen


def refuse_ours(found: JsonObject, toolset: Toolset) -> None:
    """Raises: InvalidRequest, when a tool of the client's has our prefix."""
    if _seen_beside(found, toolset) is None:
        refuse_our_prefix(ClientTools(found).bare_names())


def _seen_beside(found: JsonObject, toolset: Toolset) -> int | None:
    """How many tools of the client's stand beside ours, at most; None: one of them may have our prefix."""
    tools = found.raw("tools")
    return 0 if tools is None else toolset.beside("responses", tools, _seen)


def _seen(tools: bytes) -> int | None:
    if may_name_ours(tools):
        return None
    try:
        return sum(1 + (len(elements(bytes(one.tools))) if one.tools else 0) for one in _ALL.decode(tools))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # something odd is among them
        inner = (mapping(decoded(bytes(raw))).get("tools") for raw in elements(tools))
        return sum(1 + (len(one) if isinstance(one, list) else 0) for one in inner)


def may_offer(found: JsonObject) -> bool:
    """Whether a request can carry more tools: the model may choose freely, and nothing is replaced by the list.

    With `allowed_tools` in mode `auto` they are offered although the model may not call them there: the list of
    tools is the same in all requests of a conversation, which is what that choice is for.
    """
    tools, choice = found.raw("tools"), found.raw("tool_choice")
    if tools is None and found.raw("prompt") not in (None, b"null"):
        return False  # a stored prompt has tools of its own, which a list in the request would replace
    if tools not in (None, b"null") and not tools.startswith(b"["):
        return False  # the provider refuses it, in its own words
    if choice in (None, b"null", b'"auto"'):
        return True
    restricted = mapping(decoded(choice))
    return restricted.get("type") == "allowed_tools" and restricted.get("mode") == "auto"


def with_ours(found: JsonObject, toolset: Toolset) -> bytes:
    """The list of tools with ours at its end."""
    ours, theirs = toolset.written("responses", _written), found.raw("tools")
    if theirs in (None, b"null"):
        return b"[" + ours + b"]"
    before = theirs[:-1].rstrip(b" \t\n\r")  # up to the end of the last one
    return b"".join((before, b"" if before == b"[" else b",", ours, theirs[len(before) :]))


def without_ours(tools: bytes) -> bytes:
    """The list of tools in a response, as the client may see it. Where none is ours: the same object."""
    array = JsonArray.parse(tools) if _OURS in tools else None
    if array is None:
        return tools
    return array.without({number for number, raw in enumerate(array.elements()) if _OURS in raw and _is_our_tool(raw)})


def _is_our_tool(raw: bytes) -> bool:
    tool = mapping(decoded(raw))
    return tool.get("type") == "function" and is_ours(text(tool.get("name")))


def _written(tool: Tool) -> bytes:
    # `strict` would make the provider refuse schemas that leave anything open, as most do.
    return (
        b'{"type":"function","name":' + msgspec.json.encode(tool.id)
        + b',"description":' + msgspec.json.encode(tool.description)
        + b',"parameters":' + object_schema(tool.schema)
        + b',"strict":false}'
    )  # fmt: skip


def _elements(tools: bytes | None) -> list[bytes]:
    array = JsonArray.parse(tools) if tools is not None else None
    return array.elements() if array is not None else []


def _tool(raw: bytes) -> JsonObject | None:
    try:
        return JsonObject.parse(raw, _READ)
    except DoubledMember as error:
        raise InvalidRequest(f"tools: {error}") from None
    except NotAnObject:
        return None


def _inner(tool: JsonObject) -> Iterator[JsonObject]:
    if string_member(tool, "type") == "namespace":
        yield from (one for raw in _elements(tool.raw("tools")) if (one := _tool(raw)) is not None)


def _names(tool: JsonObject) -> Iterator[str]:
    yield from _own_name(tool)
    for inner in _inner(tool):
        for name in _own_name(inner):
            yield f"{string_member(tool, 'name') or ''}.{name}"


def _own_name(tool: JsonObject) -> Iterator[str]:
    if name := string_member(tool, "name"):
        yield name

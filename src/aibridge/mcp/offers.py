"""What one server offers, as it was read from it: tools in our words, what was left out and why, and fingerprints.

A list is a value with a fingerprint of its own: two equal lists, of two people or of two moments, are one object.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import mcp_types as types
import msgspec

from aibridge.mcp.naming import ids_of
from aibridge.mcp.servers import McpServer
from aibridge.tools import Tool

MOST_TOOLS = 1000
_LARGEST_LIST = 8 * 1024 * 1024  # bytes of definitions of one server
_LONGEST_NAME = 256  # characters
_ANY = b'{"type":"object","properties":{}}'
_REMEMBERED = 64  # lists of one server; people with different rights see different ones


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tool of the server's that nobody is offered."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One server's tools. `definitions` are the fingerprints of all that were offered, by name."""

    fingerprint: bytes
    tools: tuple[Tool, ...]
    left_out: tuple[LeftOut, ...]
    definitions: dict[str, str]

    def without(self, names: Iterable[str], why: str) -> Offer:
        """The same without some tools."""
        gone = frozenset(names) & {tool.name for tool in self.tools}
        if not gone:
            return self
        mark = hashlib.sha256(self.fingerprint + "\0".join(sorted(gone)).encode("utf-8", "surrogatepass")).digest()
        return Offer(
            fingerprint=mark,
            tools=tuple(tool for tool in self.tools if tool.name not in gone),
            left_out=(*self.left_out, *(LeftOut(name, why) for name in sorted(gone))),
            definitions=self.definitions,
        )


class Unlistable(Exception):
    """The server's list is none that can be offered. The text says why."""


def offered(server: McpServer, listed: Sequence[types.Tool]) -> Offer:
    """What of a list is offered.

    Raises:
        Unlistable: it is too large.
    """
    if len(listed) > MOST_TOOLS:
        raise Unlistable(f"it lists more than {MOST_TOOLS} tools")
    kept: dict[str, types.Tool] = {}
    left_out: list[LeftOut] = []
    for tool in listed:
        why = _why_not(server, tool, kept)
        if why is None:
            kept[tool.name] = tool
        else:
            left_out.append(LeftOut(_shown(tool.name), why))
    ids = ids_of(server.name, kept)
    tools = [_tool(server, ids[name], tool) for name, tool in kept.items()]
    if sum(len(tool.schema) + len(tool.description) for tool in tools) > _LARGEST_LIST:
        raise Unlistable(f"its definitions are larger than {_LARGEST_LIST // 1024 // 1024} MiB")
    whole = msgspec.json.encode([tools, [(each.name, each.why) for each in left_out]])
    definitions = {name: fingerprint(tool) for name, tool in kept.items()}
    return Offer(hashlib.sha256(whole).digest(), tuple(tools), tuple(left_out), definitions)


def _why_not(server: McpServer, tool: types.Tool, kept: dict[str, types.Tool]) -> str | None:
    if not tool.name or len(tool.name) > _LONGEST_NAME:
        return f"its name does not have 1 to {_LONGEST_NAME} characters"
    try:
        tool.name.encode()
    except UnicodeEncodeError:
        return "its name is no text"
    if tool.name in kept:
        return "another one has its name"
    return server.why_not(tool.name)


def _tool(server: McpServer, tool_id: str, tool: types.Tool) -> Tool:
    return Tool(
        id=tool_id,
        name=tool.name,
        server=server.name,
        server_url=server.shown_url,
        description=_text(tool.description or tool.title or ""),
        schema=schema_bytes(tool.input_schema),
    )


def schema_bytes(schema: dict[str, Any]) -> bytes:
    """The whole schema as one object that says it is one, keys in the server's order."""
    if not schema:
        return _ANY
    whole = schema if schema.get("type") == "object" else {**schema, "type": "object"}
    try:
        return msgspec.json.encode(whole)
    except (ValueError, UnicodeEncodeError, RecursionError):  # NaN, half a character, or without end
        return _ANY


def fingerprint(tool: types.Tool) -> str:
    """Of the definition: what a model is told of a tool, whatever the order of keys."""
    told = [tool.name, _text(tool.description or tool.title or ""), tool.input_schema]
    try:
        text = msgspec.json.encode(told, order="sorted")
    except (ValueError, UnicodeEncodeError, RecursionError):
        text = repr(told).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _shown(name: str) -> str:
    return _text(name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "...")


class Offers:
    """The lists of one server that are in use: an equal one is the same object."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Offer] = OrderedDict()

    def one(self, offer: Offer) -> Offer:
        known = self._known.setdefault(offer.fingerprint, offer)
        self._known.move_to_end(offer.fingerprint)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known

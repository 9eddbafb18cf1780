"""Injected tools in a chat request: where they may be offered, how they are written, and what the client brings.

They are appended, so that the client's own tools keep their bytes.
Source: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from aibridge.dialects.calls import may_name_ours, object_schema
from aibridge.dialects.reading import decoded, elements, mapping, text
from aibridge.tools import Tool, Toolset
from aibridge.wire.json_array import with_last
from aibridge.wire.json_body import JsonObject

# A forced choice would be forced in every turn, and a list of allowed tools (`allowed_tools`) leaves ours out.
_FREE_CHOICES = (None, b"null", b'"auto"')
_ONE_ANSWER = (None, b"null", b"1")
# The calls before there were tools; predicted outputs and the models that search the web take no tools.
_WITHOUT_TOOLS = ("functions", "function_call", "prediction", "web_search_options")


def offered(body: JsonObject, toolset: Toolset) -> bytes | None:
    """The value of `tools` with ours behind the client's; None where the request must not carry any."""
    if not toolset.tools or body.raw("tool_choice") not in _FREE_CHOICES or not wants_one_answer(body):
        return None
    if any(body.raw(name) not in (None, b"null") for name in _WITHOUT_TOOLS):
        return None
    tools, ours = body.raw("tools"), toolset.written("chat_completions", _written)
    if tools in (None, b"null"):
        return b"[" + ours + b"]"
    return with_last(tools or b"", ours)


def wants_one_answer(body: JsonObject) -> bool:
    """Several answers would each call tools, and each would have to go on by itself."""
    return body.raw("n") in _ONE_ANSWER


def seen_beside(body: JsonObject, toolset: Toolset) -> int | None:
    """How many tools of the client's stand beside ours, at most; None: one of them may have our prefix."""
    lists = (body.raw("tools"), body.raw("functions"))
    numbers = [toolset.beside("chat_completions", one, _seen) for one in lists if one is not None]
    return None if None in numbers else sum(number or 0 for number in numbers)


def _seen(tools: bytes) -> int | None:
    return None if may_name_ours(tools) else len(elements(tools))


def client_tools(body: JsonObject) -> Sequence[str]:
    """The names of the client's tools, those of before there were tools too."""
    names: list[str] = []
    for raw in elements(body.raw("tools")):
        tool = mapping(decoded(bytes(raw)))
        named = mapping(tool.get(text(tool.get("type")) or "function")) or mapping(tool.get("function"))
        names.append(text(named.get("name")) or text(tool.get("name")))
    names += (text(mapping(decoded(bytes(raw))).get("name")) for raw in elements(body.raw("functions")))
    return [name for name in names if name]


def brings_servers(body: JsonObject) -> bool:
    """The client names MCP servers for the provider to use, as some providers' chat endpoints allow."""
    if body.raw("mcp_servers") not in (None, b"null", b"[]"):
        return True
    return any(mapping(decoded(bytes(raw))).get("type") == "mcp" for raw in elements(body.raw("tools")))


def wants_json(body: JsonObject) -> bool:
    """The answer is to be JSON as a whole: no text may stand before it."""
    return mapping(decoded(body.raw("response_format"))).get("type") in ("json_object", "json_schema")


def _written(tool: Tool) -> bytes:
    described = {"description": tool.description} if tool.description else {}
    function = {"name": tool.id, **described, "parameters": msgspec.Raw(object_schema(tool.schema)), "strict": False}
    return msgspec.json.encode({"type": "function", "function": function})

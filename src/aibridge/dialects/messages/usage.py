"""Usage of one Messages turn. Counts are cumulative: a later number replaces an earlier one, none are summed.

Source: https://docs.claude.com/en/docs/build-with-claude/streaming ("the token counts shown in the usage field of
the message_delta event are cumulative").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from aibridge.dialects.base import TokenUsage
from aibridge.dialects.reading import count, mapping, text
from aibridge.wire.json_body import JsonObject, NotAnObject

# What a client takes for the size of its context: of several turns the last one's.
_OF_THE_LAST = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
# Objects of counts of what the turns did, each for itself.
_COUNTED = ("server_tool_use", "output_tokens_details")


def token_usage(usage: Mapping[str, Any], response_id: str | None, *, model: Any, partial: bool) -> TokenUsage:
    """The fact in a usage object; `model` is the message's. `input_tokens` of this API never contains cached tokens."""
    extra: dict[str, int | str] = {}
    created = usage.get("cache_creation")
    if isinstance(created, dict):
        extra["cache_ephemeral_5m_input"] = count(created.get("ephemeral_5m_input_tokens"))
        extra["cache_ephemeral_1h_input"] = count(created.get("ephemeral_1h_input_tokens"))
    tools = usage.get("server_tool_use")
    if isinstance(tools, dict):
        extra["web_search_requests"] = count(tools.get("web_search_requests"))
    tier = usage.get("service_tier")
    if isinstance(tier, str):
        extra["service_tier"] = tier
    return TokenUsage(
        response_id=response_id,
        input_tokens=count(usage.get("input_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        cache_read_tokens=count(usage.get("cache_read_input_tokens")),
        cache_write_tokens=count(usage.get("cache_creation_input_tokens")),
        extra=extra,
        partial=partial,
        model=text(model) or None,
    )


def usage_of_all(written: bytes | None, earlier: Sequence[Mapping[str, Any]], last: Mapping[str, Any]) -> bytes:
    """The usage that a client is told of a reply over several turns, as JSON.

    `written` is the object that the last turn said it in, whose other members are kept; `last` is all that it said.
    Input and cached tokens are the last turn's, output is summed.
    """
    try:
        said = JsonObject.parse(written if written is not None and written[:1] == b"{" else b"{}")
    except NotAnObject:  # a member's name is no UTF-8
        said = JsonObject.parse(b"{}")
    members = {name: msgspec.json.encode(last[name]) for name in _OF_THE_LAST if name in last and name not in said}
    turns = [*earlier, last]
    members["output_tokens"] = b"%d" % sum(count(usage.get("output_tokens")) for usage in turns)
    for name in _COUNTED:
        objects = [mapping(usage.get(name)) for usage in turns]
        if any(objects):
            members[name] = msgspec.json.encode(_summed(objects))
    return said.with_members(members)


def _summed(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for one in objects:
        for name, value in one.items():
            known = total.get(name)
            numbers = isinstance(value, int) and isinstance(known, int)
            total[name] = known + value if numbers else value
    return total

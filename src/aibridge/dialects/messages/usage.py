"""Usage of one Messages turn. Counts are cumulative: a later number replaces an earlier one, none are summed.

Source: https://docs.claude.com/en/docs/build-with-claude/streaming ("the token counts shown in the usage field of
the message_delta event are cumulative").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aibridge.dialects.base import TokenUsage
from aibridge.dialects.reading import count


def token_usage(usage: Mapping[str, Any], response_id: str | None, *, partial: bool) -> TokenUsage:
    """The fact in a usage object. `input_tokens` of this API never contains cached tokens."""
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
    )

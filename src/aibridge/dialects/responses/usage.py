"""Usage of one response. The provider counts cached tokens into `input_tokens`; here they are taken out.

Source: https://platform.openai.com/docs/api-reference/responses/object, `usage`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aibridge.dialects.base import TokenUsage
from aibridge.dialects.reading import count, text


def token_usage(
    usage: Mapping[str, Any], response_id: str | None, *, model: Any, tier: Any, partial: bool
) -> TokenUsage:
    """The fact in a usage object. The model and the tier (`service_tier`) stand beside it, in the response."""
    details = _object(usage, "input_tokens_details")
    read, written = count(details.get("cached_tokens")), count(details.get("cache_write_tokens"))
    extra: dict[str, int | str] = {}
    if "reasoning_tokens" in (spent := _object(usage, "output_tokens_details")):
        extra["output_reasoning"] = count(spent["reasoning_tokens"])
    if "total_tokens" in usage:
        extra["total_tokens"] = count(usage["total_tokens"])
    if isinstance(tier, str):
        extra["service_tier"] = tier
    return TokenUsage(
        response_id=response_id,
        input_tokens=max(0, count(usage.get("input_tokens")) - read - written),
        output_tokens=count(usage.get("output_tokens")),
        cache_read_tokens=read,
        cache_write_tokens=written,
        extra=extra,
        partial=partial,
        model=text(model) or None,
    )


def _object(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = usage.get(name)
    return value if isinstance(value, dict) else {}

"""Usage of one chat answer. `prompt_tokens` contains what was read from the cache; the record's input does not.

Source: https://platform.openai.com/docs/api-reference/chat/object (usage)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aibridge.dialects.base import TokenUsage
from aibridge.dialects.reading import count, mapping, text

_PROMPT_EXTRAS = {
    "audio_tokens": "prompt_audio",
    "cache_write_tokens": "prompt_cache_write",  # contained in prompt_tokens, and so in the input
}
_COMPLETION_EXTRAS = {
    "reasoning_tokens": "completion_reasoning",
    "audio_tokens": "completion_audio",
    "accepted_prediction_tokens": "completion_accepted_prediction",
    "rejected_prediction_tokens": "completion_rejected_prediction",
}


def token_usage(
    usage: Mapping[str, Any], response_id: str | None, *, model: Any, tier: Any, partial: bool
) -> TokenUsage:
    """The fact in a usage object; `model` and `tier` (its `service_tier`) are the answer's."""
    prompt = mapping(usage.get("prompt_tokens_details"))
    completion = mapping(usage.get("completion_tokens_details"))
    # Without the details: DeepSeek's and Moonshot's names for the same number.
    cached = count(
        prompt.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens"),
    )
    extra: dict[str, int | str] = {
        **_numbers(prompt, _PROMPT_EXTRAS),
        **_numbers(completion, _COMPLETION_EXTRAS),
    }
    if isinstance(tier, str):
        extra["service_tier"] = tier
    return TokenUsage(
        response_id=response_id,
        input_tokens=max(0, count(usage.get("prompt_tokens")) - cached),
        output_tokens=count(usage.get("completion_tokens")),
        cache_read_tokens=cached,
        extra=extra,
        partial=partial,
        model=text(model) or None,
    )


def _numbers(details: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, int]:
    return {ours: count(details[theirs]) for theirs, ours in names.items() if details.get(theirs) is not None}

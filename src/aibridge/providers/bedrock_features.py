"""What Bedrock takes of the Messages API, as data: it ages. A flag or a field that it does not know is a 400 there.

Looked up in November 2026. Sources:
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html
and https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ANTHROPIC_VERSION = "bedrock-2023-05-31"

EVERY_MODEL: tuple[str, ...] = ()
CONTEXT_MANAGEMENT = "context-management-2025-06-27"
EFFORT = "effort-2025-11-24"

BETA_FLAGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "computer-use-2025-01-24": EVERY_MODEL,
        "token-efficient-tools-2025-02-19": EVERY_MODEL,
        "interleaved-thinking-2025-05-14": EVERY_MODEL,
        "output-128k-2025-02-19": EVERY_MODEL,
        "dev-full-thinking-2025-05-14": EVERY_MODEL,
        "context-1m-2025-08-07": EVERY_MODEL,
        "tool-search-tool-2025-10-19": EVERY_MODEL,
        "tool-examples-2025-10-29": EVERY_MODEL,
        CONTEXT_MANAGEMENT: ("sonnet-4-5", "haiku-4-5"),
        EFFORT: ("opus-4-5",),
    }
)
"""Flag -> the models that take it (see `ClaudeModel.label`). All others are dropped."""

DROPPED_FIELDS = frozenset({"metadata", "service_tier", "container", "inference_geo"})
"""Fields of the body that Bedrock refuses."""

FLAGGED_FIELDS: Mapping[str, str] = MappingProxyType(
    {"output_config": EFFORT, "context_management": CONTEXT_MANAGEMENT}
)
"""Field -> the flag without which it is dropped too. Models with adaptive thinking take the effort without a flag."""

EFFORTS = ("low", "medium", "high")
"""What a model that needs the flag takes as effort; a higher one is the last of these."""

BUDGET_PERCENT: Mapping[str, int] = MappingProxyType({"low": 20, "medium": 50, "high": 80, "xhigh": 95, "max": 95})
"""Effort -> how much of `max_tokens` a model without adaptive thinking may think."""
DEFAULT_EFFORT = "high"
LEAST_BUDGET = 1024
"""The smallest budget that the API takes, in tokens; below it nothing is thought."""

"""What Vertex AI takes of the Messages API, as data: it ages. A flag that it does not know is a 400 there.

Looked up in November 2026. Sources:
https://docs.cloud.google.com/vertex-ai/generative-ai/docs/partner-models/claude and
https://platform.claude.com/docs/en/build-with-claude/claude-on-vertex-ai.
"""

from __future__ import annotations

ANTHROPIC_VERSION = "vertex-2023-10-16"

BETA_FLAGS = frozenset(
    {
        "compact-2026-01-12",
        "computer-use-2025-01-24",
        "computer-use-2025-11-24",
        "context-1m-2025-08-07",
        "context-management-2025-06-27",
        "interleaved-thinking-2025-05-14",
        "tool-search-tool-2025-10-19",
        "web-search-2025-03-05",
    }
)
"""All others are dropped. Counting tokens takes none at all."""

HOSTS = {
    "global": "aiplatform.googleapis.com",
    "us": "aiplatform.us.rep.googleapis.com",
    "eu": "aiplatform.eu.rep.googleapis.com",
}
"""Locations that are no single region."""

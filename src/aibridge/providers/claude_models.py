"""What models of Claude can do, where a cloud does not say it by itself: data, which ages.

Looked up in November 2026. Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-adaptive-thinking.html
and https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# `claude-opus-4-6`, `us.anthropic.claude-sonnet-4-5-20250929-v1:0`, `claude-sonnet-4@20250514`, `claude-mythos-preview`
_FAMILY_FIRST = re.compile(r"claude-([a-z]+)(?:-(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?)?")
# `anthropic.claude-3-7-sonnet-20250219-v1:0`
_NUMBER_FIRST = re.compile(r"claude-(\d)(?:[-.](\d))?-([a-z]+)")

# The first of each family that takes `thinking: {"type": "adaptive"}`, and the first that should be asked in no other
# way: from then on a fixed budget is refused (opus 4.7) or given up. A family that is not listed came later than these.
_TAKES_ADAPTIVE = {"opus": (4, 6), "sonnet": (4, 6), "haiku": (5, 0)}
_WANTS_ADAPTIVE = {"opus": (4, 7), "sonnet": (5, 0), "haiku": (5, 0)}


class ClaudeModel(NamedTuple):
    """A model by its name: `ClaudeModel("opus", (4, 6))`."""

    family: str
    version: tuple[int, int]

    @property
    def label(self) -> str:
        """As the tables name it: `opus-4-5`."""
        return f"{self.family}-{self.version[0]}-{self.version[1]}"

    @property
    def takes_adaptive_thinking(self) -> bool:
        return self.version >= _TAKES_ADAPTIVE.get(self.family, (0, 0))

    @property
    def wants_adaptive_thinking(self) -> bool:
        return self.version >= _WANTS_ADAPTIVE.get(self.family, (0, 0))


def claude_model(*names: str) -> ClaudeModel | None:
    """The model that the first telling name tells; None for none (the name of an inference profile may be anything)."""
    for name in map(str.lower, names):
        if (found := _NUMBER_FIRST.search(name)) is not None:
            return ClaudeModel(found[3], (int(found[1]), int(found[2] or 0)))
        if (found := _FAMILY_FIRST.search(name)) is not None:
            return ClaudeModel(found[1], (int(found[2] or 0), int(found[3] or 0)))
    return None

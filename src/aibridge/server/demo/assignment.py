"""What the process with the first exchanges is told, and the models that it asks. Light, for both sides import it."""

from __future__ import annotations

import msgspec

CLAUDE = "claude-sonnet-5"
GPT = "gpt-5.4"


class Assignment(msgspec.Struct):
    """Where the gateway is, and the keys of those who ask."""

    base_url: str
    alice: str
    bob: str

"""Anthropic's API: one bridged route; models, token counts and Claude Code's event logging pass through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from aibridge.credentials import Secret
from aibridge.dialects.messages import MESSAGES
from aibridge.providers.base import Provider, RouteRule, Settings, as_secrets

_READ = frozenset({"GET", "HEAD"})
_POST = frozenset({"POST"})
RULES = (
    RouteRule(path="/v1/messages", methods=_POST, dialect=MESSAGES),
    RouteRule(path="/v1/messages/count_tokens", methods=_POST, adaptation="count_tokens"),
    RouteRule(path="/v1/models", methods=_READ),
    RouteRule(path="/v1/models/*", methods=_READ),
    RouteRule(path="/api/event_logging/*", methods=_POST),
)


def anthropic(
    *,
    name: str = "anthropic",
    base_url: str = "https://api.anthropic.com/",
    key: str | Secret | None = None,
    keys: Sequence[str | Secret] = (),
    **settings: Unpack[Settings],
) -> Provider:
    """An Anthropic provider. `key` is the central one, `keys` are up to five; without any each caller brings their own."""
    return Provider(
        type="anthropic",
        name=name,
        base_url=base_url,
        keys=as_secrets(key, keys),
        key_header=b"x-api-key",
        rules=RULES,
        errors=MESSAGES,
        **settings,
    )

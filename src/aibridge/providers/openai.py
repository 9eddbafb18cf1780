"""OpenAI's API: chat, responses and compaction are bridged. The version is in the base URL, not in the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from aibridge.credentials import Secret
from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.dialects.responses import RESPONSES, RESPONSES_COMPACT
from aibridge.providers.base import Provider, RouteRule, Settings, as_secrets

_READ = frozenset({"GET", "HEAD"})
_POST = frozenset({"POST"})
_STORED = frozenset({"GET", "DELETE"})
RULES = (
    RouteRule(path="/v1/chat/completions", upstream_path="/chat/completions", methods=_POST, dialect=CHAT_COMPLETIONS),
    RouteRule(path="/v1/responses", upstream_path="/responses", methods=_POST, dialect=RESPONSES),
    RouteRule(
        path="/v1/responses/compact", upstream_path="/responses/compact", methods=_POST, dialect=RESPONSES_COMPACT
    ),
    RouteRule(
        path="/v1/responses/input_tokens",
        upstream_path="/responses/input_tokens",
        methods=_POST,
        adaptation="input_tokens",
    ),
    RouteRule(
        path="/v1/responses/*",
        upstream_path="/responses/*",
        methods=_STORED,
        deeper_methods=_POST,  # {id}/cancel
        adaptation="stored_response",
    ),
    RouteRule(path="/v1/conversations", upstream_path="/conversations", methods=_POST, adaptation="conversations"),
    RouteRule(
        path="/v1/conversations/*",
        upstream_path="/conversations/*",
        methods=_STORED | _POST,  # POST changes its metadata, or adds items
        adaptation="conversation",
    ),
    RouteRule(path="/v1/models", upstream_path="/models", methods=_READ),
    RouteRule(path="/v1/models/*", upstream_path="/models/*", methods=_READ),
)


def openai(
    *,
    name: str = "openai",
    base_url: str = "https://api.openai.com/v1/",
    key: str | Secret | None = None,
    keys: Sequence[str | Secret] = (),
    **settings: Unpack[Settings],
) -> Provider:
    """An OpenAI provider, or any server that speaks its API.

    `key` is the central one, `keys` are up to five; without any each caller brings their own.
    """
    return Provider(
        type="openai",
        name=name,
        base_url=base_url,
        keys=as_secrets(key, keys),
        rules=RULES,
        errors=CHAT_COMPLETIONS,
        **settings,
    )

"""GitHub Copilot's API: three dialects on one host. It knows its users itself, so it takes no central key.

No person's identifier is added to bodies either: the bearer says who it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from aibridge.credentials import Secret
from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.dialects.messages import MESSAGES
from aibridge.dialects.responses import RESPONSES
from aibridge.providers.base import Provider, RouteRule, Settings

_READ = frozenset({"GET", "HEAD"})
_POST = frozenset({"POST"})
_ANY = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
RULES = (
    RouteRule(path="/chat/completions", methods=_POST, dialect=CHAT_COMPLETIONS),
    RouteRule(path="/responses", methods=_POST, dialect=RESPONSES),
    RouteRule(path="/v1/messages", methods=_POST, dialect=MESSAGES),
    RouteRule(path="/models", methods=_READ),
    RouteRule(path="/models/*", methods=_READ | _POST),  # POST: models/session, {id}/policy
    RouteRule(path="/agents/*", methods=_ANY),
    RouteRule(path="/mcp/*", methods=frozenset({"GET", "POST", "DELETE"})),  # MCP's streamable HTTP
    RouteRule(path="/.well-known/*", methods=_READ),
    RouteRule(path="/_ping", methods=_READ),
    RouteRule(path="/auto", methods=_READ | _POST),
)


def copilot(
    *,
    name: str = "copilot",
    base_url: str = "https://api.individual.githubcopilot.com",
    key: None = None,
    keys: Sequence[str | Secret] = (),
    **settings: Unpack[Settings],
) -> Provider:
    """A Copilot provider. Raises ValueError for a central key and for `allow_byok=False`: neither could work."""
    if keys or key is not None:
        raise ValueError(f"provider {name!r}: copilot takes no central key, only each user's own")
    if not settings.get("allow_byok", True):
        raise ValueError(f"provider {name!r}: copilot has only the users' own credentials, so allow_byok stays true")
    return Provider(
        type="copilot",
        name=name,
        base_url=base_url,
        rules=RULES,
        errors=CHAT_COMPLETIONS,
        attributed=False,
        **settings,
    )

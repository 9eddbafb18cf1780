"""Who a provider is told that a request is for. The gateway is the source of truth; no request goes unnamed."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from aibridge.actor import Actor

if TYPE_CHECKING:
    from aibridge.providers.base import UpstreamUser


def identifier(actor: Actor, upstream_user: UpstreamUser, *, key: bytes, limit: int) -> str | None:
    """The identifier of `actor` for a dialect that takes `limit` characters; None only when it is switched off.

    An actor without the username or e-mail that is asked for is named by id. A value that is too long, or holds
    what is no text (control characters, lone surrogates), is replaced by its hash: keyed with `key`, so that who
    knows the value's candidates but not the key cannot tell them apart.
    """
    if upstream_user == "off":
        return None
    if upstream_user == "hash":
        return _hashed(actor.id, key)
    value = actor.id
    if upstream_user == "username":
        value = actor.username or actor.id
    elif upstream_user == "email":
        value = actor.email or actor.id
    return value if value and len(value) <= limit and value.isprintable() else _hashed(value, key)


def _hashed(value: str, key: bytes) -> str:
    # HMAC-SHA-256 (RFC 2104): 64 characters, which is also the shortest limit of all dialects.
    return hmac.new(key, value.encode("utf-8", errors="surrogatepass"), hashlib.sha256).hexdigest()

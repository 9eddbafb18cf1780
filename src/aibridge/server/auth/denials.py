"""Why a credential lets nobody in, in words for whoever sent it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aibridge.server.persons import Denial


@dataclass(frozen=True, slots=True)
class Denied:
    """`reason` is a word for logs. What is only unknown may be meant for somebody else; then another header counts."""

    reason: str
    words: str

    @property
    def is_unknown(self) -> bool:
        return self.reason == "unknown"


KEY_DENIED: Final[dict[Denial, Denied]] = {
    "unknown": Denied(
        "unknown", "this is no key of this gateway: send your aibridge key, whole (make one with: aibridge keys create)"
    ),
    "revoked": Denied(
        "revoked", "your aibridge key has been revoked: use another (make one with: aibridge keys create)"
    ),
    "expired": Denied("expired", "your aibridge key has expired: use another (make one with: aibridge keys create)"),
    "suspended": Denied("suspended", "your account is suspended at this gateway: ask who runs it"),
}
NO_TOKEN = Denied("unknown", "this is no token of the identity provider of this gateway, nor a key of the gateway's")
NO_KEYS_HERE = Denied("unknown", "keys are not taken here: send a token of the identity provider")
TOKEN_EXPIRED = Denied("expired", "your token has expired: get a new one")

"""The token that a person came with, as a value, and the door to those that are known. Nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

NOBODY = (
    "you did not come with a token of your identity provider, or it has ended (a gateway key is shown to no other server):"
    " set your client up to send such a token to the gateway"
)
"""What is said to whoever has none."""


@dataclass(frozen=True, slots=True)
class CallerToken:
    """One that let its person in, and whom it names. `expires_at` is in seconds since 1970, as in the token."""

    value: str = field(repr=False)
    expires_at: float
    audiences: tuple[str, ...]


class CallerTokenSource(Protocol):
    """Knows what people came with. It costs nothing to ask."""

    def of(self, user_id: str, audience: str | None) -> CallerToken | None:
        """The newest token of that person which has not ended, and which names `audience` if one is asked for."""

"""Who asks. An actor is authenticated before anything else happens and is never changed afterwards."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec

_SCOPE_KEY = "aibridge.actor"


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """A person or service, as the host knows it.

    `id` is the stable identifier that records are filed under. `metadata` is what else the host wants on
    each record (strings only); `username` and `email` are added to it when records are made.
    """

    id: str
    username: str | None = None
    email: str | None = None
    groups: tuple[str, ...] = ()
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)

    def described(self) -> dict[str, str]:
        """The metadata that goes on a record: the host's own plus username and e-mail."""
        described = dict(self.metadata)
        if self.username is not None:
            described.setdefault("username", self.username)
        if self.email is not None:
            described.setdefault("email", self.email)
        return described


def set_actor(scope: MutableMapping[str, Any], actor: Actor) -> None:
    """Tells a mounted bridge who asks. Called by the host's own authentication, once per request."""
    scope[_SCOPE_KEY] = actor


def actor_of(scope: Mapping[str, Any]) -> Actor | None:
    """The actor that the host set on this request, if it did."""
    actor = scope.get(_SCOPE_KEY)
    return actor if isinstance(actor, Actor) else None

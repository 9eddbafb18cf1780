"""The authenticator of a bridge that has no other: a host that knows who asks says so on the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aibridge.actor import actor_of
from aibridge.errors import Problem, Refused
from aibridge.ports import Identity

# With `x-should-retry: false` Claude Code shows the message at once; a plain 401 it retries for over a minute.
UNAUTHORIZED = ((b"www-authenticate", b"Bearer"), (b"x-should-retry", b"false"))


class ScopeAuthenticator:
    """Takes the actor that the host has put on the request with `set_actor`."""

    async def authenticate(self, scope: Mapping[str, Any]) -> Identity:
        actor = actor_of(scope)
        if actor is None:
            raise Refused(Problem(401, "nobody is signed in", headers=UNAUTHORIZED))
        return Identity(actor, list(scope["headers"]), scope.get("query_string", b""))

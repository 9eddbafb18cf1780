"""What a server with `auth = "caller"` is shown for one person: the token that the person came with, or an exchanged one.

The rule: as it is, only a token whose audience names the server is sent there, and only for whom it let in. Whoever has
none is told what to come with; nothing else is shown in its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from aibridge.mcp.authorization import Authorization, AuthorizationFor, NotAuthorized
from aibridge.mcp.caller.exchanges import Exchanges
from aibridge.mcp.caller.tokens import NOBODY, CallerToken, CallerTokenSource
from aibridge.mcp.servers import McpServer
from aibridge.ports import Identity


class OwnToken:
    """An `Authorization` of one server, for one person."""

    def __init__(self, tokens: CallerTokenSource, server: McpServer, actor_id: str) -> None:
        self._tokens = tokens
        self._audience = server.audience or server.resource
        self._actor_id = actor_id
        self._secrets: deque[str] = deque(maxlen=2)  # the one before may still be repeated

    def missing(self) -> str | None:
        if self._token() is not None:
            return None
        wanted = f'the audience ("aud") of your token must name {self._audience}'
        if self._tokens.of(self._actor_id, None) is None:
            return f"{NOBODY}; {wanted}"
        return f"your token is not for this server: {wanted}; ask for one that does, at your identity provider"

    def rights(self) -> object:
        return self._token()

    def secrets(self) -> Iterable[str]:
        return tuple(self._secrets)

    async def header(self) -> str | None:
        token = self._token()
        if token is None:
            raise NotAuthorized(self.missing() or NOBODY)
        if token.value not in self._secrets:
            self._secrets.append(token.value)
        return f"Bearer {token.value}"

    async def refused(self, status: int, challenge: str | None, shown: str | None) -> bool:  # noqa: ARG002  the port's arguments
        token = self._token()  # there may be a newer one by now
        return token is not None and f"Bearer {token.value}" != shown

    def _token(self) -> CallerToken | None:
        return self._tokens.of(self._actor_id, self._audience)


class ExchangedToken:
    """An `Authorization` of one server with `exchange`, for one person."""

    def __init__(self, exchanges: Exchanges, server: McpServer, actor_id: str) -> None:
        self._exchanges = exchanges
        self._server = server
        self._actor_id = actor_id
        self._secrets: deque[str] = deque(maxlen=2)  # as above

    def missing(self) -> str | None:
        return self._exchanges.missing(self._actor_id, self._server)

    def rights(self) -> object:
        return self._exchanges.subject(self._actor_id)

    def secrets(self) -> Iterable[str]:
        return tuple(self._secrets)

    async def header(self) -> str | None:
        token = (await self._exchanges.token(self._actor_id, self._server)).value
        if token not in self._secrets:
            self._secrets.append(token)
        return f"Bearer {token}"

    async def refused(self, status: int, challenge: str | None, shown: str | None) -> bool:  # noqa: ARG002  the port's arguments
        token = (shown or "").removeprefix("Bearer ")
        return status == 401 and self._exchanges.refused(self._actor_id, self._server, token)


def caller_authorization(
    tokens: CallerTokenSource, exchanges: Exchanges, otherwise: AuthorizationFor
) -> AuthorizationFor:
    """That of every server: the caller's token where that is wanted, else what `otherwise` says."""

    def authorization(server: McpServer, identity: Identity) -> Authorization:
        if server.auth != "caller":
            return otherwise(server, identity)
        if server.exchange:
            return ExchangedToken(exchanges, server, identity.actor.id)
        return OwnToken(tokens, server, identity.actor.id)

    return authorization

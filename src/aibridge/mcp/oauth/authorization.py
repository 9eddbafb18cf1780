"""What a server with `auth = "oauth"` is shown for one person: that person's token, renewed before it ends.

Without a login nobody is asked; the refusal says where the person logs in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import timedelta

from aibridge.errors import RecordingFailed
from aibridge.mcp.authorization import Authorization, AuthorizationFor, NotAuthorized, fixed_authorization
from aibridge.mcp.oauth.logins import Logins
from aibridge.mcp.oauth.values import Login, LoginFailed, LoginGone
from aibridge.mcp.servers import McpServer
from aibridge.ports import Clock, Identity

_EARLY = timedelta(seconds=30)  # before its end a token is renewed, so that it does not end on the way
_NEW = timedelta(seconds=10)  # a token that is refused so soon after it was given will be refused again


class PersonalAuthorization:
    """An `Authorization` of one server, for one person."""

    def __init__(self, logins: Logins, server: McpServer, actor_id: str, clock: Clock) -> None:
        self._logins = logins
        self._server = server
        self._actor_id = actor_id
        self._clock = clock
        self._mark: bytes | None = None
        self._known: Login | None = None
        self._shown: Login | None = None
        self._secrets: deque[str] = deque(maxlen=2)  # the one before may still be repeated

    def missing(self) -> str | None:
        try:
            return None if self._login() is not None else self._words("nobody has logged in there for you")
        except RecordingFailed:
            return "logins cannot be read at the moment"

    def rights(self) -> object:
        return None

    def secrets(self) -> Iterable[str]:
        return tuple(self._secrets)

    async def header(self) -> str | None:
        try:
            login = self._login()
        except RecordingFailed:
            raise NotAuthorized("logins cannot be read at the moment") from None
        if login is None:
            raise NotAuthorized(self._words("nobody has logged in there for you"))
        if login.expires_at is not None and login.expires_at - _EARLY <= self._clock.now():
            login = await self._renewed(login)
        self._shown = login
        if login.access_token not in self._secrets:
            self._secrets.append(login.access_token)
        return f"Bearer {login.access_token}"

    async def refused(self, status: int, challenge: str | None, shown: str | None) -> bool:  # noqa: ARG002  the port's arguments
        login = self._shown
        if status != 401 or login is None:
            return False
        if shown != f"Bearer {login.access_token}":
            return True  # another request has brought a newer one meanwhile
        if self._clock.now() - login.renewed_at < _NEW:
            return False
        try:
            await self._renewed(login)
        except NotAuthorized:
            return self.missing() is not None  # then `header` says so, with the way to log in
        return True

    def _login(self) -> Login | None:
        mark = self._logins.seen()
        if mark != self._mark:
            self._known = self._logins.login(self._actor_id, self._server)
            self._mark = mark
        return self._known

    async def _renewed(self, login: Login) -> Login:
        try:
            return await self._logins.renewed(self._actor_id, self._server, login)
        except LoginGone:
            raise NotAuthorized(self._words("your login there has ended")) from None
        except LoginFailed as error:
            if login.expires_at is not None and login.expires_at > self._clock.now():
                return login  # renewing can wait for a moment
            raise NotAuthorized(f"your login there cannot be renewed now: {error}") from None
        except RecordingFailed:
            raise NotAuthorized("your login there cannot be renewed now") from None

    def _words(self, why: str) -> str:
        return f"{why}; log in at {self._logins.page(self._server.name)}"


def authorization_of(logins: Logins, clock: Clock) -> AuthorizationFor:
    """That of every server: personal where it is, else its token or nothing."""

    def authorization(server: McpServer, identity: Identity) -> Authorization:
        if server.name in logins.servers:
            return PersonalAuthorization(logins, server, identity.actor.id, clock)
        return fixed_authorization(server, identity)

    return authorization

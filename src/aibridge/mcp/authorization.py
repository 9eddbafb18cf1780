"""The seam for logins: what a server is shown with the requests of one actor.

Asked before each HTTP request, so that a token that was renewed in between is used; no session knows how it is got.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from aibridge.mcp.servers import McpServer
from aibridge.ports import Identity


class NotAuthorized(Exception):
    """The server cannot be asked for this actor. The text is for the person: what to do about it, and no secret."""


class Authorization(Protocol):
    """Of one server, for one actor."""

    def missing(self) -> str | None:
        """What keeps this actor from being let in, in words for the person; None: nothing that is known. It costs nothing."""

    def rights(self) -> object:
        """A mark that differs once other rights count: lists are read again. It costs nothing."""

    def secrets(self) -> Iterable[str]:
        """What the server was shown lately: it may repeat it, and nobody is to read it."""

    async def header(self) -> str | None:
        """The value of `Authorization`; None: there is none.

        Raises:
            NotAuthorized: there ought to be one.
        """

    async def refused(self, status: int, challenge: str | None, shown: str | None) -> bool:
        """The server answered 401 or 403 to what it was `shown`, with that `WWW-Authenticate`.

        True: `header` now says something else.
        """


AuthorizationFor = Callable[[McpServer, Identity], Authorization]


class FixedAuthorization:
    """One token for all, which is among the server's own secrets, or none."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def missing(self) -> str | None:
        return None

    def rights(self) -> object:
        return None

    def secrets(self) -> Iterable[str]:
        return ()

    async def header(self) -> str | None:
        return self._value

    async def refused(self, status: int, challenge: str | None, shown: str | None) -> bool:  # noqa: ARG002  the port's arguments
        return False


def fixed_authorization(server: McpServer, identity: Identity) -> Authorization:  # noqa: ARG001  as above
    """That of servers whose `auth` is `none` or `token`."""
    return FixedAuthorization(None if server.token is None else f"Bearer {server.token.reveal()}")

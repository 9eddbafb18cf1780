"""Logins and what leads to one, as values. What is secret in them is in no `repr`; they are kept sealed.

The rule: a login says for which address its tokens were issued and where they are renewed. Nobody else gets to see them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

ATTEMPT_LIVES = 600.0
"""Seconds from the confirming click to the way back."""

SECRETLESS = "none"
WITH_SECRET = ("client_secret_basic", "client_secret_post")
"""The ways that we speak (RFC 7591 section 2)."""


class LoginFailed(Exception):
    """There is no login. The text is one line for the person, and no secret.

    `server`: the name of the one where the person had begun it, if that is known.
    """

    server: str | None = None


class LoginGone(LoginFailed):
    """The authorization server does not renew the login any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClient:
    """We, as an authorization server knows us. `method` is how we say so at its token endpoint (RFC 7591 section 2).

    `ends_at`: until when its secret is good (section 3.2.1); None: for ever, or it has none.
    """

    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    method: str
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationServer:
    """Where logins for one MCP server are made. Every address was checked when it was found, and is again when used.

    `says_iss`: it promised to name itself in its answers (RFC 9207). `methods`: how clients may authenticate.
    `scope`: what to ask for. `resource`: the MCP server by the name that it gives itself (RFC 8707).
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str | None
    revocation_endpoint: str | None
    says_iss: bool
    methods: tuple[str, ...]
    scope: str | None
    resource: str

    @property
    def secret_method(self) -> str:
        """How to show a secret: as it names it first, for that is what it was tried with."""
        return next((method for method in self.methods if method in WITH_SECRET), WITH_SECRET[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A login that was begun: by whom, at which server, in which browser session."""

    actor_id: str
    session: str = field(repr=False)
    server: str
    url: str = field(repr=False)
    verifier: str = field(repr=False)
    client: OAuthClient
    at: AuthorizationServer
    redirect_uri: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One person's tokens for one server. `url` is the address that they may be sent to."""

    url: str = field(repr=False)
    client: OAuthClient
    at: AuthorizationServer
    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None
    renewed_at: datetime

"""What a command shows to servers that are asked with callers' tokens: the token in a file, if the gateway would take it.

Without one such a server is asked nothing, and the status says why.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aibridge.actor import Actor
from aibridge.clock import SystemClock
from aibridge.mcp import Authorization, McpServer, NotAuthorized
from aibridge.mcp.authorization import AuthorizationFor
from aibridge.mcp.caller.authorization import caller_authorization
from aibridge.mcp.caller.exchanges import Exchanges
from aibridge.ports import Identity
from aibridge.server.auth.caller_tokens import CallerTokens
from aibridge.server.auth.oidc.issuer import Issuer, IssuerUnavailable
from aibridge.server.auth.oidc.tokens import Claims, WrongToken, check_head, presented, verified
from aibridge.server.config import Configuration
from aibridge.server.configured_callers import endpoint_of
from aibridge.server.configured_oidc import configured_oidc
from aibridge.server.configured_tools import ca_bundle_of
from aibridge.server.persons import NotPossible
from aibridge.server.private_files import read

TOKENLESS = "it is asked with the token that its user comes with to the gateway; name one with --token-file"


@asynccontextmanager
async def authorization_by_file(
    configuration: Configuration, file: Path | None, actor: Actor, otherwise: AuthorizationFor
) -> AsyncIterator[AuthorizationFor]:
    """What servers are shown for `actor`. Raises: NotPossible, Wrong, PrivateFileUnusable."""
    if file is None:
        yield _tokenless(otherwise)
        return
    rules = configured_oidc(configuration)
    if rules is None:
        raise NotPossible('no server is asked with tokens: they need the auth mode "oidc"')
    clock = SystemClock()
    tokens, bundle = CallerTokens(clock), ca_bundle_of(configuration)
    async with (
        Issuer(rules, clock) as issuer,
        Exchanges(tokens, endpoint_of(issuer), clock=clock, chance=random.random, ca_bundle=bundle) as exchanges,
    ):
        value = read(file)
        if value is None:
            raise NotPossible(f"there is no file {file}")
        claims = await _claims(issuer, value, clock.now().timestamp())
        tokens.seen(actor.id, value, claims.expires_at, claims.audiences)
        yield caller_authorization(tokens, exchanges, otherwise)


async def _claims(issuer: Issuer, value: str, now: float) -> Claims:
    """Raises: NotPossible."""
    token = presented(value)
    if token is None or token.issuer != issuer.rules.issuer:
        raise NotPossible(f"what is in the file is no token of {issuer.rules.issuer}")
    try:
        check_head(token, issuer.rules)
        key = await issuer.key(token.kid, token.algorithm)
        if key is None:
            raise WrongToken("your token is signed with a key that the identity provider does not have")
        return verified(token, key, issuer.rules, now)
    except WrongToken as error:
        raise NotPossible(f"the gateway would not take the token: {error}") from None
    except IssuerUnavailable as error:
        raise NotPossible(f"the token cannot be verified: the identity provider {error}") from None


class _Tokenless:
    """The `Authorization` of servers that are asked with a caller's token, where there is no caller."""

    def missing(self) -> str:
        return TOKENLESS

    def rights(self) -> object:
        return None

    def secrets(self) -> tuple[str, ...]:
        return ()

    async def header(self) -> str | None:
        raise NotAuthorized(TOKENLESS)

    async def refused(self, status: int, challenge: str | None, shown: str | None) -> bool:  # noqa: ARG002  the port's arguments
        return False


def _tokenless(otherwise: AuthorizationFor) -> AuthorizationFor:
    def authorization(server: McpServer, identity: Identity) -> Authorization:
        return _Tokenless() if server.auth == "caller" else otherwise(server, identity)

    return authorization

"""What is said to a server's authorization server, one exchange a function. The SDK is loaded with the first, in a thread.

`trust` is whom the machine, or the configuration, lets vouch for the servers that are asked.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from importlib import import_module

from aibridge.egress import Trusted
from aibridge.mcp.oauth.fetching import fetching
from aibridge.mcp.oauth.values import SECRETLESS, Attempt, AuthorizationServer, Login, OAuthClient
from aibridge.mcp.servers import McpServer


async def introduced(
    server: McpServer, redirect_uri: str, known: OAuthClient | None, trust: Trusted
) -> tuple[AuthorizationServer, OAuthClient]:
    """Where logins are made, and as whom: the configured client, the one that is `known` there, or a new one.

    Raises: LoginFailed.
    """
    await _loaded()
    from aibridge.mcp.oauth.discovery import discovered  # noqa: PLC0415  see the module
    from aibridge.mcp.oauth.endpoints import registered  # noqa: PLC0415  as above

    async with fetching(trust, allow_private=server.allow_private) as http:
        at = await discovered(server, http)
        ours = configured(server, at)
        if ours is not None:
            return at, ours
        if known is not None and known.issuer == at.issuer:
            return at, known
        return at, await registered(at, redirect_uri, http)


async def login_for(server: McpServer, attempt: Attempt, code: str, now: datetime, trust: Trusted) -> Login:
    """The tokens for a code. Raises: LoginFailed."""
    await _loaded()
    from aibridge.mcp.oauth.endpoints import login_for  # noqa: PLC0415  see the module

    async with fetching(trust, allow_private=server.allow_private) as http:
        return await login_for(attempt, code, now, http)


async def renewed(server: McpServer, login: Login, now: datetime, trust: Trusted) -> Login:
    """The login with new tokens. Raises: LoginGone: there will be none. LoginFailed: there is none now."""
    await _loaded()
    from aibridge.mcp.oauth.endpoints import renewed  # noqa: PLC0415  see the module

    async with fetching(trust, allow_private=server.allow_private) as http:
        return await renewed(login, now, http, registered=server.client_id is None)


async def revoked(server: McpServer, login: Login, trust: Trusted) -> bool:
    """Whether the authorization server took the tokens back. Raises: LoginFailed: nobody knows."""
    await _loaded()
    from aibridge.mcp.oauth.endpoints import revoked  # noqa: PLC0415  see the module

    async with fetching(trust, allow_private=server.allow_private) as http:
        return await revoked(login, http)


def configured(server: McpServer, at: AuthorizationServer) -> OAuthClient | None:
    """The client that the configuration names; its secret may be another one than when a login was made."""
    if server.client_id is None:
        return None
    secret = None if server.client_secret is None else server.client_secret.reveal()
    method = SECRETLESS if secret is None else at.secret_method
    return OAuthClient(issuer=at.issuer, client_id=server.client_id, client_secret=secret, method=method)


async def _loaded() -> None:
    await asyncio.to_thread(load)


def load() -> None:
    """Imports what asks, and the SDK, beginning as the toolbox does, which may be loading it in a thread of its own.

    Two threads that begin with the same module wait for each other in order; imports of the SDK from two ends meet
    halfway, and one of them fails as a deadlock: a toolbox without tools until the next start, or a login that fails.
    """
    import_module("aibridge.mcp.sessions")
    import_module("aibridge.mcp.oauth.endpoints")

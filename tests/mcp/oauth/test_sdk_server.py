"""Logins at a server that is protected by the official SDK's own authorization server."""

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import AnyHttpUrl

from aibridge.mcp import McpToolbox
from aibridge.mcp.oauth.authorization import authorization_of
from aibridge.server.demo.simulator.serving import serve_simulator
from tests.fakes.clock import FakeClock
from tests.mcp.oauth.logins import logins_in
from tests.mcp.real_servers import ALICE, Wiki, at, names

pytestmark = pytest.mark.anyio


class InMemory(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """Lets everybody in. Times are far away: the SDK looks at the machine's clock."""

    def __init__(self) -> None:
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.access: dict[str, AccessToken] = {}
        self.refresh: dict[str, RefreshToken] = {}

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.clients[client_info.client_id] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        code = secrets.token_urlsafe()
        self.codes[code] = AuthorizationCode(
            code=code,
            scopes=params.scopes or [],
            expires_at=4e9,
            client_id=client.client_id,
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

    async def load_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: str
    ) -> AuthorizationCode | None:
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(
        self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode
    ) -> OAuthToken:
        del self.codes[authorization_code.code]
        return self._given(client.client_id, authorization_code.resource)

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(
        self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]
    ) -> OAuthToken:
        del self.refresh[refresh_token.token]
        return self._given(client.client_id, refresh_token.resource)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.access.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        self.refresh.pop(token.token, None)
        self.access.clear()

    def _given(self, client_id: str, resource: str | None) -> OAuthToken:
        access, refresh = secrets.token_urlsafe(), secrets.token_urlsafe()
        self.access[access] = AccessToken(token=access, client_id=client_id, scopes=[], resource=resource)
        self.refresh[refresh] = RefreshToken(token=refresh, client_id=client_id, scopes=[], resource=resource)
        return OAuthToken(access_token=access, refresh_token=refresh, expires_in=3600)


@asynccontextmanager
async def serving_protected(wiki: Wiki, provider: InMemory) -> AsyncIterator[str]:
    served: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await served["app"](scope, receive, send)

    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(serve_simulator(app))
        settings = AuthSettings(
            issuer_url=AnyHttpUrl(base),
            resource_server_url=AnyHttpUrl(f"{base}/mcp"),
            validate_token_resource=True,
            client_registration_options=ClientRegistrationOptions(enabled=True),
            revocation_options=RevocationOptions(enabled=True),
        )
        served["app"] = wiki.server().streamable_http_app(auth=settings, auth_server_provider=provider)
        await stack.enter_async_context(served["app"].router.lifespan_context(served["app"]))
        yield f"{base}/mcp"


async def test_a_login_is_made_used_renewed_and_ended(tmp_path: Path) -> None:
    provider, clock = InMemory(), FakeClock()
    async with serving_protected(Wiki(), provider) as url:
        server = at(url, auth="oauth")
        async with logins_in(tmp_path, server, clock) as (logins, _):
            begun = await logins.begun(server, "alice", "session")
            async with httpx2.AsyncClient(trust_env=False) as browser:
                back = dict(httpx2.URL((await browser.get(begun)).headers["location"]).params)
            await logins.finished("alice", "session", state=back["state"], code=back["code"], issuer=back.get("iss"))
            async with McpToolbox([server], authorization=authorization_of(logins, clock), clock=clock) as toolbox:
                first = await toolbox.tools(ALICE)
            clock.passed += 3600
            tokens = set(provider.access)
            async with McpToolbox([server], authorization=authorization_of(logins, clock), clock=clock) as toolbox:
                second = await toolbox.tools(ALICE)
            renewed = set(provider.access) - tokens
            ended = await logins.forgotten("alice", server)

    assert names(first) == names(second) == ["read", "write"]
    assert len(renewed) == 1
    assert ended == (True, True)
    assert provider.refresh == {}

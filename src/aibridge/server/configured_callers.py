"""Where people's own tokens are exchanged for those of MCP servers that name no place: at the identity provider itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aibridge.mcp.caller.exchange import FindEndpoint, TokenEndpoint
    from aibridge.server.auth.oidc.issuer import Issuer


def endpoint_of(issuer: Issuer | None) -> FindEndpoint:
    """Gives the token endpoint of that issuer, checked as the issuer's other addresses are."""

    async def find() -> TokenEndpoint:
        from aibridge.mcp.caller.exchange import ExchangeFailed, TokenEndpoint  # noqa: PLC0415  it needs an HTTP client
        from aibridge.server.auth.oidc.issuer import IssuerUnavailable  # noqa: PLC0415  only where there is one

        if issuer is None:
            raise ExchangeFailed("nothing says where tokens are exchanged: set token_endpoint")
        try:
            metadata = await issuer.metadata()
        except IssuerUnavailable as error:
            raise ExchangeFailed(f"your token cannot be exchanged now: your identity provider {error}") from None
        if metadata.token_endpoint is None:
            raise ExchangeFailed("your identity provider names no token endpoint: set token_endpoint")
        return TokenEndpoint(
            metadata.token_endpoint,
            allow_private=issuer.rules.allow_private,
            methods=metadata.token_endpoint_auth_methods,
            ca_bundle=issuer.rules.ca_bundle,
        )

    return find

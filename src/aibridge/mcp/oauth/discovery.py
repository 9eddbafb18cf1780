"""Finds where logins for an MCP server are made: from its refusal, or from well-known places (RFC 9728, RFC 8414, OIDC).

Whatever a document says is believed only where it names what it was found for: the resource is the server that was
configured, the issuer is the one that was asked for. Every address in it must be one that may be configured too.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import httpx2
from mcp.client.auth.utils import (
    build_oauth_authorization_server_metadata_discovery_urls,
    build_protected_resource_metadata_discovery_urls,
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
    get_client_metadata_scopes,
)
from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata
from mcp.shared.auth_utils import check_resource_allowed, resource_url_from_server_url
from pydantic import ValidationError

from aibridge.egress import check_discovered_url
from aibridge.mcp.oauth.fetching import Fetching
from aibridge.mcp.oauth.values import AuthorizationServer, LoginFailed
from aibridge.mcp.servers import McpServer

GRANTS = ["authorization_code", "refresh_token"]
_PING = b'{"jsonrpc":"2.0","id":0,"method":"ping"}'
_ACCEPTED = "application/json, text/event-stream"
_BASIC = ("client_secret_basic",)  # where nothing is said (RFC 8414 section 2)


async def discovered(server: McpServer, http: Fetching) -> AuthorizationServer:
    """Where logins for `server` are made.

    Raises:
        LoginFailed: nowhere that can be found, or that can be used.
    """
    assert server.url is not None
    own = {name.lower(): value.reveal() for name, value in server.headers.items()}  # a gate before it may want them
    refusal = await http.post(server.url, _PING, "application/json", {**own, "accept": _ACCEPTED})
    resource = await _resource(server, refusal, http)
    issuer = _origin(server.url) if resource is None else str(resource.authorization_servers[0])
    metadata = await _metadata(server, issuer if resource is not None else None, http)
    if str(metadata.issuer).rstrip("/") != issuer.rstrip("/"):
        # A document found for one issuer that names another would bring its tokens under a foreign name (RFC 8414, 3.3).
        raise LoginFailed(f"the authorization server of {server.name} names another issuer than was asked for")
    scope = " ".join(server.scopes) or get_client_metadata_scopes(
        extract_scope_from_www_auth(refusal), resource, metadata, GRANTS
    )
    return _usable(server, metadata, scope=scope or None, resource=resource)


async def _resource(server: McpServer, refusal: httpx2.Response, http: Fetching) -> ProtectedResourceMetadata | None:
    assert server.url is not None
    named = extract_resource_metadata_from_www_auth(refusal)
    for url in build_protected_resource_metadata_discovery_urls(named, server.url):
        _check(server, "resource metadata", url)
        response = await http.get(url)
        if response.status_code != 200:
            continue
        try:
            found = ProtectedResourceMetadata.model_validate_json(response.content)
        except ValidationError:
            continue
        if not check_resource_allowed(requested_resource=server.url, configured_resource=str(found.resource)):
            raise LoginFailed(f"the metadata of {server.name} is that of another resource")
        return found
    return None


async def _metadata(server: McpServer, issuer: str | None, http: Fetching) -> OAuthMetadata:
    assert server.url is not None
    for url in build_oauth_authorization_server_metadata_discovery_urls(issuer, server.url):
        _check(server, "issuer", url)
        response = await http.get(url)
        if response.status_code == 200:
            try:
                return OAuthMetadata.model_validate_json(response.content)
            except ValidationError:
                continue
    raise LoginFailed(f"nothing says where logins for {server.name} are made")


def _usable(
    server: McpServer, metadata: OAuthMetadata, *, scope: str | None, resource: ProtectedResourceMetadata | None
) -> AuthorizationServer:
    if "S256" not in (metadata.code_challenge_methods_supported or ()):
        # Whoever does not say so does not check it (MCP, authorization, on RFC 7636).
        raise LoginFailed(f"the authorization server of {server.name} does not support PKCE with S256")
    endpoints = {
        name: None if value is None else str(value)
        for name, value in (
            ("authorization_endpoint", metadata.authorization_endpoint),
            ("token_endpoint", metadata.token_endpoint),
            ("registration_endpoint", metadata.registration_endpoint),
            ("revocation_endpoint", metadata.revocation_endpoint),
        )
    }
    for name, url in endpoints.items():
        if url is not None:
            _check(server, name, url)
    methods = metadata.token_endpoint_auth_methods_supported
    return AuthorizationServer(
        issuer=str(metadata.issuer),
        authorization_endpoint=str(endpoints["authorization_endpoint"]),
        token_endpoint=str(endpoints["token_endpoint"]),
        registration_endpoint=endpoints["registration_endpoint"],
        revocation_endpoint=endpoints["revocation_endpoint"],
        says_iss=bool(metadata.authorization_response_iss_parameter_supported),
        methods=_BASIC if methods is None else tuple(methods),
        scope=scope,
        resource=_canonical(server) if resource is None else str(resource.resource),
    )


def _check(server: McpServer, what: str, url: str) -> None:
    """Whether an address that somebody else has named may be asked, or shown to a browser. Raises: LoginFailed."""
    try:
        check_discovered_url(url, beside=server.url or "", allow_private=server.allow_private)
    except ValueError as error:
        raise LoginFailed(f"the {what.replace('_', ' ')} of {server.name} {error}") from None


def _canonical(server: McpServer) -> str:
    """Without a query: people put keys there, and a resource should have none (RFC 8707 section 2)."""
    assert server.url is not None
    return urlunsplit(urlsplit(resource_url_from_server_url(server.url))._replace(query=""))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"

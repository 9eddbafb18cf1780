"""What an issuer says of itself, and its keys, fetched from its well-known place (OpenID Connect Discovery 1.0).

The rule: a document is believed only where it names the issuer that was configured. Every address in it is one that may
be configured too; none is redirected from, and no answer is larger than is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from aibridge.egress import Trusted, check_discovered_url
from aibridge.mcp.oauth.fetching import Fetching, Unanswered, fetching
from aibridge.server.auth.oidc.keys import IssuerKeys, NotRead, keys_in
from aibridge.server.auth.oidc.rules import OidcRules

_WELL_KNOWN = "/.well-known/openid-configuration"
_LONGEST = 15.0  # seconds for all of it; one address is given up after ten
_Found = TypeVar("_Found")
_UNSAID_METHODS = ("client_secret_basic",)  # OpenID Connect Discovery 1.0 section 3
_SHOWN = 120  # characters of what a document says, in a message


class NotFetched(Exception):
    """It could not be had now. The text is one line, for whoever runs the gateway."""


@dataclass(frozen=True, slots=True)
class IssuerMetadata:
    """Where an issuer can be asked what. `token_endpoint` is None where it names none that may be asked.

    `token_endpoint_auth_methods`: how clients may authenticate there.
    """

    issuer: str
    jwks_uri: str
    token_endpoint: str | None
    token_endpoint_auth_methods: tuple[str, ...] = _UNSAID_METHODS


async def fetched_metadata(rules: OidcRules, trust: Trusted) -> IssuerMetadata:
    """Raises: NotFetched."""
    return await _within_time(_metadata, rules, trust)


async def fetched_keys(rules: OidcRules, trust: Trusted) -> tuple[IssuerMetadata | None, IssuerKeys]:
    """The keys as they are now; and the metadata, where the address of the keys is not configured. Raises: NotFetched."""
    return await _within_time(_keys, rules, trust)


async def _metadata(rules: OidcRules, http: Fetching) -> IssuerMetadata:
    content = await _got(http, f"{rules.issuer.rstrip('/')}{_WELL_KNOWN}", "its configuration")
    try:
        said = msgspec.json.decode(content, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotFetched("its configuration cannot be read") from None
    if said.issuer != rules.issuer:
        raise NotFetched(f"its configuration is that of the issuer {said.issuer[:_SHOWN]!r}")
    if rules.jwks_url is None:
        _check("jwks_uri", said.jwks_uri, rules)
    endpoint = said.token_endpoint
    try:
        if endpoint is not None:
            _check("token_endpoint", endpoint, rules)
    except NotFetched:
        endpoint = None  # whoever signs in needs none
    return IssuerMetadata(said.issuer, said.jwks_uri, endpoint, said.token_endpoint_auth_methods_supported)


async def _keys(rules: OidcRules, http: Fetching) -> tuple[IssuerMetadata | None, IssuerKeys]:
    metadata = await _metadata(rules, http) if rules.jwks_url is None else None
    url = rules.jwks_url if metadata is None else metadata.jwks_uri
    content = await _got(http, str(url), "its document of keys")
    try:
        return metadata, await asyncio.to_thread(keys_in, content)
    except NotRead as error:
        raise NotFetched(str(error)) from None


class _Document(msgspec.Struct):
    issuer: str
    jwks_uri: str = ""
    token_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = _UNSAID_METHODS


async def _got(http: Fetching, url: str, what: str) -> bytes:
    response = await http.get(url)
    if response.status_code != 200:
        raise NotFetched(f"{what} is answered with {response.status_code}")
    return response.content


def _check(name: str, url: str, rules: OidcRules) -> None:
    try:
        check_discovered_url(url, beside=rules.issuer, allow_private=rules.allow_private)
    except ValueError as error:
        raise NotFetched(f"the {name} in its configuration {error}") from None


async def _within_time(
    fetch: Callable[[OidcRules, Fetching], Awaitable[_Found]], rules: OidcRules, trust: Trusted
) -> _Found:
    try:
        async with asyncio.timeout(_LONGEST), fetching(trust, allow_private=rules.allow_private) as http:
            return await fetch(rules, http)
    except TimeoutError:
        raise NotFetched(f"it did not answer within {_LONGEST:.0f} seconds") from None
    except Unanswered as error:
        raise NotFetched(str(error)) from None

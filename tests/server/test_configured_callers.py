"""Where tokens are exchanged: at the token endpoint of the identity provider, checked like its other addresses."""

from dataclasses import replace
from typing import Any

import pytest

from aibridge.clock import SystemClock
from aibridge.mcp.caller.exchange import ExchangeFailed, TokenEndpoint
from aibridge.server.auth.oidc.issuer import Issuer
from aibridge.server.auth.oidc.rules import OidcRules
from aibridge.server.configured_callers import endpoint_of
from tests.fakes.oidc import AUDIENCE, serving_oidc

pytestmark = pytest.mark.anyio


async def found(said: dict[str, Any], *, is_down: bool = False) -> TokenEndpoint:
    async with serving_oidc() as provider:
        provider.metadata, provider.is_down = said, is_down
        rules = OidcRules(issuer=provider.url, audiences=(AUDIENCE,), allow_private=True)
        async with Issuer(rules, SystemClock()) as issuer:
            endpoint = await endpoint_of(issuer)()
        assert endpoint.url.startswith(provider.url)
        return replace(endpoint, url=endpoint.url.removeprefix(provider.url))


async def test_the_identity_provider_says_where_tokens_are_exchanged_and_how_clients_say_who_they_are() -> None:
    plain = await found({})
    by_form = await found({"token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_post"]})

    assert plain == TokenEndpoint("/token", allow_private=True, methods=("client_secret_basic",))
    assert by_form.methods == ("private_key_jwt", "client_secret_post")


@pytest.mark.parametrize(
    ("said", "is_down", "words"),
    [
        ({"token_endpoint": None}, False, "names no token endpoint: set token_endpoint"),
        ({"token_endpoint": "ftp://127.0.0.1/"}, False, "names no token endpoint: set token_endpoint"),
        ({}, True, "your token cannot be exchanged now: your identity provider cannot be asked for its configuration"),
    ],
)
async def test_where_it_says_nothing_that_can_be_used_that_is_why(
    said: dict[str, Any], is_down: bool, words: str
) -> None:
    with pytest.raises(ExchangeFailed, match=words):
        await found(said, is_down=is_down)


async def test_without_an_identity_provider_there_is_no_such_place() -> None:
    with pytest.raises(ExchangeFailed, match="set token_endpoint"):
        await endpoint_of(None)()

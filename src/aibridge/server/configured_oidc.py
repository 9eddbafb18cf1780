"""Signing in with tokens, out of the configuration: whose tokens are good, checked at the start, and what lets them in.

An issuer that does not answer holds nothing up; `/readyz` and the log say so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aibridge.clock import new_id
from aibridge.database.files import DatabaseFile
from aibridge.ports import Clock
from aibridge.server.auth.caller_tokens import CallerTokens
from aibridge.server.auth.oidc.rules import OidcRules
from aibridge.server.config import Configuration, Wrong
from aibridge.server.config.schema import Oidc

if TYPE_CHECKING:
    from aibridge.server.auth.oidc.sign_in import TokenSignIn


def configured_oidc(configuration: Configuration) -> OidcRules | None:
    """None: no tokens are taken. Raises: Wrong."""
    auth = configuration.settings.auth
    if "oidc" not in auth.modes or auth.oidc is None:
        return None
    table = auth.oidc
    for at, why in _faults(table):
        raise Wrong(f"{configuration.place(('auth', 'oidc', at))}: {why}")
    return OidcRules(
        issuer=table.issuer,
        audiences=tuple(table.audience),
        username_claim=table.username_claim,
        email_claim=table.email_claim,
        groups_claim=table.groups_claim,
        admin_groups=frozenset(table.admin_groups),
        auditor_groups=frozenset(table.auditor_groups),
        required_groups=frozenset(table.required_groups),
        algorithms=tuple(table.algorithms),
        leeway=table.leeway,
        jwks_url=table.jwks_url,
        allow_private=table.allow_private,
        ca_bundle=_ca_bundle(configuration, table),
    )


def _faults(table: Oidc) -> Iterator[tuple[str, str]]:
    from aibridge.egress import check_url  # noqa: PLC0415  it needs an HTTP client, which only some configurations do

    for at, url in (("issuer", table.issuer), ("jwks_url", table.jwks_url)):
        if url is None:
            continue
        try:
            check_url(url, allow_private=table.allow_private)
            parts = urlsplit(url)
        except ValueError as error:
            yield at, str(error)
            continue
        if parts.username is not None or parts.fragment or (at == "issuer" and parts.query):
            yield at, "must have no name, no query and no fragment: it is written exactly as tokens have it"
    if "" in table.audience:
        yield "audience", "must name what tokens are for"


def _ca_bundle(configuration: Configuration, table: Oidc) -> str | None:
    """The file with the authorities that the issuer is verified by; else that of the providers, else the machine's.

    Raises: Wrong.
    """
    from aibridge.egress import trusted  # noqa: PLC0415  as above

    at = ("auth", "oidc", "ca_bundle") if table.ca_bundle is not None else ("upstream", "ca_bundle")
    said = table.ca_bundle if table.ca_bundle is not None else configuration.settings.upstream.ca_bundle
    if said is None:
        return None
    path = str(configuration.base / Path(said).expanduser())
    try:
        trusted(path)
    except OSError as error:
        raise Wrong(
            f"{configuration.place(at)}: cannot be read ({error.strerror or 'not certificates, as PEM'})"
        ) from None
    return path


@asynccontextmanager
async def opened_tokens(
    rules: OidcRules | None, file: DatabaseFile, clock: Clock, callers: CallerTokens | None
) -> AsyncIterator[TokenSignIn | None]:
    """What lets people in with tokens; None: none are taken."""
    if rules is None:
        yield None
        return
    from aibridge.server.arrivals import Arrivals  # noqa: PLC0415  only where tokens are taken
    from aibridge.server.auth.oidc.issuer import Issuer  # noqa: PLC0415  as above
    from aibridge.server.auth.oidc.sign_in import TokenSignIn  # noqa: PLC0415  as above

    with closing(Arrivals(file, clock, new_id)) as arrivals:
        async with Issuer(rules, clock) as issuer:
            yield TokenSignIn(issuer, arrivals, clock, callers)

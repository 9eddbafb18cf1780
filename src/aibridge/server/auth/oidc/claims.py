"""Whom the claims of a token describe: name, e-mail, groups, role. Pure.

What a claim says is a wish where it is a name: who has it keeps it (see `arrivals`). Nothing here decides who somebody is:
that are issuer and subject alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aibridge.server.auth.oidc.rules import OidcRules
from aibridge.server.auth.oidc.tokens import Claims
from aibridge.server.persons import NotPossible, Role, checked_name

_MOST_GROUPS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedPerson:
    """Somebody as the issuer described them at that moment.

    `username` is None where no claim has one that a user may have.
    """

    issuer: str
    subject: str
    username: str | None
    email: str | None
    groups: tuple[str, ...]
    role: Role
    claimed_at: datetime


def claimed_person(claims: Claims, rules: OidcRules) -> ClaimedPerson:
    said = claims.all
    # Who can choose an address there that nobody has confirmed could pass for somebody else here. (Some issuers write a
    # string.)
    unconfirmed = said.get("email_verified") in (False, "false")
    email = None if unconfirmed else _name(_claim(said, rules.email_claim), "an e-mail address")
    groups = tuple(_groups(_claim(said, rules.groups_claim)))
    named = email if rules.username_claim == rules.email_claim else _claim(said, rules.username_claim)
    wished = (named, email, claims.subject)
    return ClaimedPerson(
        issuer=claims.issuer,
        subject=claims.subject,
        username=next((name for wish in wished if (name := _name(wish, "a user name")) is not None), None),
        email=email,
        groups=groups,
        role=_role(groups, rules),
        claimed_at=datetime.fromtimestamp(claims.issued_at, UTC),
    )


def _claim(said: Mapping[str, Any], name: str) -> Any:
    """The claim of that name, dots and all; else what its path leads to. None: there is none."""
    if name in said:
        return said[name]
    found: Any = said
    for step in name.split("."):
        if not isinstance(found, dict) or step not in found:
            return None
        found = found[step]
    return found


def _groups(said: Any) -> Iterator[str]:
    found = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    names = (_name(each, "a group name") for each in found[:_MOST_GROUPS])
    yield from dict.fromkeys(name for name in names if name is not None)


def _role(groups: tuple[str, ...], rules: OidcRules) -> Role:
    if not rules.admin_groups.isdisjoint(groups):
        return "admin"
    return "member" if rules.auditor_groups.isdisjoint(groups) else "auditor"


def _name(said: Any, what: str) -> str | None:
    try:
        return checked_name(said, what) if isinstance(said, str) else None
    except NotPossible:
        return None

"""What claims say of a person, however the issuer likes to say it."""

from typing import Any

import pytest

from aibridge.server.auth.oidc.claims import ClaimedPerson, claimed_person
from aibridge.server.auth.oidc.rules import OidcRules
from aibridge.server.auth.oidc.tokens import Claims


def person(said: dict[str, Any], **rules: Any) -> ClaimedPerson:
    claims = Claims("https://id.example", "sub-1", ("aibridge",), 1.8e9, 1.9e9, said)
    return claimed_person(claims, OidcRules(issuer="https://id.example", audiences=("aibridge",), **rules))


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"preferred_username": "ada", "email": "a@example.org"}, "ada"),
        ({"email": "a@example.org"}, "a@example.org"),
        ({"email": "a@example.org", "email_verified": False}, "sub-1"),
        ({"preferred_username": " ada", "email": 7}, "sub-1"),
        ({"preferred_username": "a\nb"}, "sub-1"),
        ({"preferred_username": "x" * 129}, "sub-1"),
        ({}, "sub-1"),
    ],
)
def test_a_name_is_the_first_that_a_user_may_have(said: dict[str, Any], name: str) -> None:
    assert person(said).username == name


def test_an_address_that_nobody_confirmed_is_nobodys() -> None:
    assert person({"email": "a@example.org", "email_verified": False}).email is None
    assert person({"email": "a@example.org", "email_verified": "false"}).email is None
    assert person({"email": "a@example.org", "email_verified": False}, username_claim="email").username == "sub-1"
    assert (
        person({"email": "a@example.org", "email_verified": True}, username_claim="email").username == "a@example.org"
    )
    assert person({"email": "a@example.org", "email_verified": True}).email == "a@example.org"


@pytest.mark.parametrize(
    ("said", "claim", "groups"),
    [
        ({"groups": ["a", "b", "a", 7, " "]}, "groups", ("a", "b")),
        ({"groups": "a"}, "groups", ("a",)),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", ("a",)),
        ({"https://example.org/groups": ["a"]}, "https://example.org/groups", ("a",)),
        ({"a.b": ["dotted"], "a": {"b": ["path"]}}, "a.b", ("dotted",)),
        ({"groups": {"a": 1}}, "groups", ()),
        ({"a": "b"}, "a.b", ()),
        ({}, "groups", ()),
    ],
)
def test_groups_are_where_the_rules_say(said: dict[str, Any], claim: str, groups: tuple[str, ...]) -> None:
    assert person(said, groups_claim=claim).groups == groups


def test_groups_are_bounded() -> None:
    assert len(person({"groups": [f"g{number}" for number in range(10_000)]}).groups) == 500


def test_roles_follow_groups_and_without_one_nobody_is_more_than_a_member() -> None:
    rules: dict[str, Any] = {"admin_groups": frozenset({"root"}), "auditor_groups": frozenset({"audit"})}

    assert person({"groups": ["root", "audit"]}, **rules).role == "admin"
    assert person({"groups": ["audit"]}, **rules).role == "auditor"
    assert person({"groups": ["x"]}, **rules).role == "member"
    assert person({"groups": ["root"]}).role == "member"

"""Whose tokens are good here, and what their claims mean: the table `[auth.oidc]`, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
"""Signatures by a key of which the issuer shows one half only. Neither `none` nor a shared secret is ever among them."""
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcRules:
    """`jwks_url` is where the keys are, in place of what the issuer's own document says.

    Of claims: a name, or a path of names with dots between them. Roles follow the groups: whoever is in none of
    `admin_groups` and `auditor_groups` is a member. `required_groups`: who is in none of them is not let in; none:
    everybody is.
    """

    issuer: str
    audiences: tuple[str, ...]
    username_claim: str = "preferred_username"
    email_claim: str = "email"
    groups_claim: str = "groups"
    admin_groups: frozenset[str] = frozenset()
    auditor_groups: frozenset[str] = frozenset()
    required_groups: frozenset[str] = frozenset()
    algorithms: tuple[Algorithm, ...] = ALGORITHMS
    leeway: float = 30.0
    jwks_url: str | None = None
    allow_private: bool = False
    ca_bundle: str | None = None

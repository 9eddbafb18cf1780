"""Lets people in with tokens of the issuer. A token is verified once, and then remembered by its hash until it ends.

What may change meanwhile is asked at each request: whether the key that signed it is still the issuer's, and what is known
of the person. A good token is never called a bad one because nobody could be asked: that is a 503.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from aibridge.errors import Problem, Refused
from aibridge.ports import Clock
from aibridge.server.arrivals import Arrivals, Stranger
from aibridge.server.auth.denials import KEY_DENIED, NO_TOKEN, TOKEN_EXPIRED, Denied
from aibridge.server.auth.oidc.claims import claimed_person
from aibridge.server.auth.oidc.issuer import Issuer, IssuerUnavailable
from aibridge.server.auth.oidc.keys import IssuerKey
from aibridge.server.auth.oidc.own_tokens import OwnTokens
from aibridge.server.auth.oidc.tokens import (
    BadSignature,
    Claims,
    Presented,
    TokenEnded,
    WrongToken,
    check_head,
    presented,
    verified,
)
from aibridge.server.persons import NotPossible, Role, Scope, SignedIn, User

if TYPE_CHECKING:
    from aibridge.server.auth.caller_tokens import CallerTokens

_REMEMBERED = 10_000  # tokens, of some 300 bytes each without the token
_CREDENTIAL = re.compile(r"oidc-([0-9a-f-]{36})-([0-9]{1,12})")
_NOT_ALLOWED = Denied("groups", "you are in none of the groups that may use this gateway: ask who runs it")
_SCOPES: dict[Role, tuple[Scope, ...]] = {
    "member": ("use", "read:own"),
    "auditor": ("use", "read:own", "read:all"),
    "admin": ("use", "read:own", "read:all", "admin"),
}


@dataclass(slots=True)
class _Held:
    """A token that was verified, by its hash. `signed_in` is what came of it last.

    It lets in until `expires_at`, which is later than what it says itself: clocks differ.
    """

    user_id: str
    expires_at: float
    said_to_expire_at: float
    audiences: tuple[str, ...]
    key: IssuerKey
    credential_id: str
    signed_in: SignedIn | None = field(default=None)


class TokenSignIn:
    """Whom a token lets in. `callers` is told of each that did, for servers that are asked with it."""

    def __init__(self, issuer: Issuer, arrivals: Arrivals, clock: Clock, callers: CallerTokens | None = None) -> None:
        self.issuer = issuer
        self.own = OwnTokens(issuer.rules.issuer)
        self._arrivals = arrivals
        self._clock = clock
        self._callers = callers
        self._held: dict[bytes, _Held] = {}

    async def identified(self, value: str) -> SignedIn | Denied:
        """Who somebody is with this token, or why it opens nothing.

        Raises:
            Refused: 403, who it is may not use the gateway; 503, nobody can say now.
            DatabaseUnusable
        """
        digest = hashlib.sha256(value.encode("latin-1")).digest()
        now = self._clock.now().timestamp()
        held = self._held.get(digest)
        if held is None or not self.issuer.trusts(held.key):
            token = presented(value)
            if token is None or token.issuer != self.issuer.rules.issuer:
                return NO_TOKEN
            found = await self._verified(token, now)
            if isinstance(found, Denied):
                return found
            held = self._remember(digest, found)
        if held.expires_at <= now:
            del self._held[digest]
            return TOKEN_EXPIRED
        user = self._arrivals.user(held.user_id)
        if user is None:  # was deleted since, and arrives anew with the next token
            self._held.pop(digest, None)
            return NO_TOKEN
        signed_in = held.signed_in
        if signed_in is None or signed_in.user is not user:
            signed_in = held.signed_in = SignedIn(held.credential_id, user, _SCOPES[user.role])
        if user.status != "active":
            return KEY_DENIED["suspended"]
        if not self._may_use(user.groups):
            raise Refused(Problem(403, _NOT_ALLOWED.words))
        if self._callers is not None:
            self._callers.seen(user.id, value, held.said_to_expire_at, held.audiences)
        return signed_in

    def standing(self, credential_id: str) -> SignedIn | Denied | None:
        """What a credential stands for now that somebody was let in with; None: it is none of ours.

        Raises: DatabaseUnusable.
        """
        named = _CREDENTIAL.fullmatch(credential_id)
        if named is None:
            return None
        if int(named[2]) <= self._clock.now().timestamp():
            return TOKEN_EXPIRED
        user = self._arrivals.user(named[1])
        if user is None:
            return NO_TOKEN
        if user.status != "active":
            return KEY_DENIED["suspended"]
        if not self._may_use(user.groups):
            return _NOT_ALLOWED
        return SignedIn(credential_id, user, _SCOPES[user.role])

    def _may_use(self, groups: Sequence[str]) -> bool:
        required = self.issuer.rules.required_groups
        return not required or not required.isdisjoint(groups)

    async def _verified(self, token: Presented, now: float) -> tuple[Claims, IssuerKey, User] | Denied:
        rules = self.issuer.rules
        try:
            check_head(token, rules)
            claims, key = await self._with_key(token, now)
            person = claimed_person(claims, rules)
            # Whoever may not use the gateway is not made a user: names go to who comes first.
            arrive = partial(self._arrivals.arrived, person, may_be_new=self._may_use(person.groups))
            user = await asyncio.to_thread(arrive)
        except TokenEnded:
            return TOKEN_EXPIRED
        except WrongToken as error:
            return Denied("wrong", str(error))
        except IssuerUnavailable as error:
            told = ((b"retry-after", str(error.retry_after).encode()),)
            words = f"your token cannot be verified now: the identity provider {error}"
            raise Refused(Problem(503, words, headers=told)) from None
        except Stranger:
            raise Refused(Problem(403, _NOT_ALLOWED.words)) from None
        except NotPossible as error:
            raise Refused(Problem(403, str(error))) from None
        return claims, key, user

    async def _with_key(self, token: Presented, now: float) -> tuple[Claims, IssuerKey]:
        """Raises: WrongToken, IssuerUnavailable."""
        tried: IssuerKey | None = None
        while True:
            key = await self.issuer.key(token.kid, token.algorithm, tried=tried)
            if key is None:
                raise WrongToken("your token is signed with a key that the identity provider does not have")
            try:
                return verified(token, key, self.issuer.rules, now), key
            except BadSignature:
                if tried is not None:
                    raise
                tried = key

    def _remember(self, digest: bytes, found: tuple[Claims, IssuerKey, User]) -> _Held:
        claims, key, user = found
        while len(self._held) >= _REMEMBERED:
            del self._held[next(iter(self._held))]
        expires_at = claims.expires_at + self.issuer.rules.leeway
        credential_id = f"oidc-{user.id}-{int(expires_at)}"
        held = _Held(user.id, expires_at, claims.expires_at, claims.audiences, key, credential_id)
        self._held[digest] = held
        return held

"""A token as it was presented, and its claims once it is verified (RFC 7519, RFC 7515). Pure: time and keys are arguments.

The rule: nothing that a token says counts before its signature does; until then it only says whom to ask.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import warnings
from dataclasses import dataclass, field
from typing import Any

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning

from aibridge.server.auth.oidc.keys import IssuerKey
from aibridge.server.auth.oidc.rules import OidcRules

LONGEST = 16 * 1024  # characters; with a hundred groups a token has six thousand
_LONGEST_SUBJECT = 255  # OpenID Connect Core section 2
_MOST_AUDIENCES = 100
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# RFC 9068 section 4 names the first two; identity tokens say `JWT`, or nothing.
_TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt", "application/jwt"})


class WrongToken(Exception):
    """It lets nobody in. The text is one line for whoever sent it, and says nothing that is in the token."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A value that has the shape of a token. `issuer` and the rest are what it says, and nobody has confirmed."""

    value: str = field(repr=False)
    issuer: str | None
    algorithm: str
    kid: str | None
    type: str | None
    extended: bool  # it wants rules to be kept that we do not know


@dataclass(frozen=True, slots=True)
class Claims:
    """What the issuer says. Times are seconds since 1970, in its words: how far clocks may differ is not in them."""

    issuer: str
    subject: str
    audiences: tuple[str, ...]
    issued_at: float
    expires_at: float
    all: dict[str, Any] = field(repr=False)


def may_be_token(value: str) -> bool:
    """Whether a value has the shape of a token, and none of a key of ours: three parts, of which the first is JSON."""
    return value.startswith("eyJ") and len(value) <= LONGEST and _SHAPE.fullmatch(value) is not None


def presented(value: str) -> Presented | None:
    """What a value says of itself; None: it is no token."""
    if not may_be_token(value):
        return None
    first, second, _ = value.split(".")
    try:
        header = msgspec.json.decode(_decoded(first), type=_Header)
        issuer = msgspec.json.decode(_decoded(second), type=_Issued).iss
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error, RecursionError):
        return None
    extended = header.crit is not msgspec.UNSET or header.b64 is not msgspec.UNSET
    return Presented(value, issuer if isinstance(issuer, str) else None, header.alg, header.kid, header.typ, extended)


def verified(token: Presented, key: IssuerKey, rules: OidcRules, now: float) -> Claims:
    """Raises: WrongToken. BadSignature: another key may fit."""
    registry = jws.JWSRegistry(algorithms=list(rules.algorithms), strict_check_header=False)
    registry.max_header_length = LONGEST  # some carry a chain of certificates
    try:
        with warnings.catch_warnings(action="ignore", category=SecurityWarning):
            # It warns of `EdDSA`, which RFC 9864 only gave a more exact name.
            content = jws.deserialize_compact(token.value, key.key, registry=registry).payload
    except (JoseError, ValueError, TypeError, RecursionError):
        raise BadSignature("the signature of your token is not that of the identity provider") from None
    try:
        said = msgspec.json.decode(content or b"", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise WrongToken("the claims of your token cannot be read") from None
    return _checked(said, rules, now)


class BadSignature(WrongToken):
    pass


class TokenEnded(WrongToken):
    pass


def check_head(token: Presented, rules: OidcRules) -> None:
    """Before anybody is asked for a key. Raises: WrongToken."""
    if token.algorithm not in rules.algorithms:
        raise WrongToken("your token is signed in a way that is not taken here")
    if token.extended:
        raise WrongToken("your token names extensions that are not known here")
    if token.type is not None and token.type.lower() not in _TYPES:
        raise WrongToken("your token is of a kind that lets nobody in")


def _checked(said: dict[str, Any], rules: OidcRules, now: float) -> Claims:
    if said.get("iss") != rules.issuer:
        raise WrongToken("your token is of another issuer")
    audiences = _audiences(said.get("aud"))
    if not set(audiences) & set(rules.audiences):
        raise WrongToken("your token is for another audience than this gateway")
    subject = said.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
        raise WrongToken("your token does not say whose it is")
    expires_at, issued_at = _moment(said.get("exp")), _moment(said.get("iat"))
    if expires_at is None or issued_at is None:
        raise WrongToken("your token does not say from when to when it is good")
    if expires_at + rules.leeway <= now:
        raise TokenEnded("your token has expired: get a new one")
    not_before = _moment(said["nbf"]) if "nbf" in said else issued_at
    if not_before is None or max(not_before, issued_at) - rules.leeway > now:
        raise WrongToken("your token is not good yet")
    return Claims(rules.issuer, subject, audiences, issued_at, expires_at, said)


def _audiences(said: object) -> tuple[str, ...]:
    found = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    return tuple(each for each in found[:_MOST_AUDIENCES] if isinstance(each, str))


def _moment(said: object) -> float | None:
    if isinstance(said, bool) or not isinstance(said, int | float):
        return None
    try:
        moment = float(said)
    except OverflowError:
        return None
    return moment if math.isfinite(moment) and 0 <= moment < _LATEST else None


_LATEST = 253402300800  # the year 10000, where dates end


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    b64: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # RFC 7797


class _Issued(msgspec.Struct):
    iss: Any = None


def _decoded(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)

"""The keys that an issuer signs with, out of its JWK Set (RFC 7517). Pure.

A key that cannot verify a signature, or that is too weak to, is as if it were not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

_MOST = 100  # keys; issuers show two to five
_RSA_DIGITS = 342  # of base64url, in a modulus of 2048 bits: RFC 7518 section 3.3 wants no smaller one
_KINDS: dict[str, type[RSAKey | ECKey | OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
# Those that sign: of OKP there are others that only agree on secrets (RFC 8037 section 3.2).
_CURVES = {"EC": ("P-256", "P-384", "P-521"), "OKP": ("Ed25519", "Ed448")}
# By the first letters of an algorithm (RFC 7518 section 3.1, RFC 8037 section 3.1).
_KIND_OF: dict[str, type[RSAKey | ECKey | OKPKey]] = {"RS": RSAKey, "PS": RSAKey, "ES": ECKey, "Ed": OKPKey}


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """One key. `thumbprint` is its name by what it is (RFC 7638): another key is another, whatever it is called."""

    kid: str | None
    algorithm: str | None  # the only one that it is for, if its owner says so
    thumbprint: str
    key: RSAKey | ECKey | OKPKey = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class IssuerKeys:
    """All keys of one issuer at one moment."""

    keys: tuple[IssuerKey, ...] = ()
    thumbprints: frozenset[str] = frozenset()

    def named(self, kid: str | None, algorithm: str) -> IssuerKey | None:
        """The key that a token names, if it is for that algorithm; the only one that is, where a token names none.

        Where there are several a token must name its own (OpenID Connect Core section 10.1).
        """
        kind = _KIND_OF[algorithm[:2]]
        suitable = [
            key
            for key in self.keys
            if (kid is None or key.kid == kid) and isinstance(key.key, kind) and key.algorithm in (None, algorithm)
        ]
        return suitable[0] if len(suitable) == 1 or (suitable and kid is not None) else None


class NotRead(Exception):
    """It is no such document."""


def keys_in(document: bytes) -> IssuerKeys:
    """Those that can verify something, if any. Raises: NotRead."""
    try:
        found = msgspec.json.decode(document, type=_JwkSet)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise NotRead("its document of keys cannot be read") from None
    keys = tuple(_usable(found.keys[:_MOST]))
    return IssuerKeys(keys, frozenset(key.thumbprint for key in keys))


class _JwkSet(msgspec.Struct):
    keys: list[dict[str, object]]


def _usable(keys: list[dict[str, object]]) -> Iterator[IssuerKey]:
    for jwk in keys:
        kind = _KINDS.get(str(jwk.get("kty")))
        if kind is None or jwk.get("use", "sig") != "sig" or not _may_verify(jwk):
            continue
        if str(jwk.get("crv")) not in _CURVES.get(str(jwk["kty"]), ("None",)):
            continue
        if kind is RSAKey and len(str(jwk.get("n", "")).rstrip("=")) < _RSA_DIGITS:
            continue
        try:
            key = kind.import_key(_public(jwk))
            thumbprint = key.thumbprint()
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        yield IssuerKey(_text(jwk.get("kid")), _text(jwk.get("alg")), thumbprint, key)


# Of a JWK these make the key (RFC 7518 section 6, RFC 8037 section 2); the rest is about it, or is none of our business.
_MATERIAL = ("kty", "crv", "x", "y", "n", "e")


def _public(jwk: Mapping[str, object]) -> dict[str, str | list[str]]:
    return {name: value for name in _MATERIAL if isinstance(value := jwk.get(name), str)}


def _may_verify(jwk: Mapping[str, object]) -> bool:
    operations = jwk.get("key_ops")
    return operations is None or (isinstance(operations, list) and "verify" in operations)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None

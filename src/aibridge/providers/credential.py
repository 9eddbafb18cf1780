"""Which credential a request goes upstream with: the central key, or the user's own (BYOK).

The caller's gateway token was removed before this point, so a credential that is still there is the user's own,
whichever header it is in: new Anthropic SDKs send `api_key=` as a bearer, old ones as `x-api-key`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from aibridge.credentials import Secret, masked
from aibridge.errors import Header, Problem, Refused
from aibridge.records import CredentialKind

if TYPE_CHECKING:
    from aibridge.providers.base import Provider

_AUTHORIZATION, _API_KEY = b"authorization", b"x-api-key"
CREDENTIAL_HEADERS = frozenset({_AUTHORIZATION, _API_KEY, b"api-key"})
"""The names, in lower case, of all headers that a credential of the user's own may be in."""
# With `x-should-retry: false` Claude Code shows the message at once; a plain 401 it retries for over a minute.
_UNAUTHORIZED = ((b"www-authenticate", b"Bearer"), (b"x-should-retry", b"false"))


class Credential(msgspec.Struct, frozen=True):
    """What authenticates us at the provider. `hint` is the mask that records show."""

    kind: CredentialKind
    hint: str
    header: Header | None
    proved: Sequence[str] = ()  # the secrets behind a signature that stands in its place

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must be found nowhere else: the value, without the scheme before it."""
        if self.header is None:
            return tuple(self.proved)
        return (_token(self.header[1]).decode("latin-1"),)

    def __repr__(self) -> str:
        """Without what is long or secret."""
        return f"Credential(kind={self.kind!r}, hint={self.hint!r})"


def choose_credential(provider: Provider, headers: Sequence[Header]) -> Credential:
    """The one credential of a request whose headers hold no token of ours any more.

    Raises:
        Refused: 400 for a credential header that occurs twice, 401 when there is no credential at all,
            403 for the user's own where it is not allowed.
    """
    own = _own(provider, headers)
    if own is not None:
        if not provider.allow_byok:
            raise Refused(Problem(403, f"provider {provider.name} does not take credentials of your own"))
        return own
    central = gateways_credential(provider)
    if central is None:
        raise Refused(Problem(401, _missing(provider), headers=_UNAUTHORIZED))
    return central


def gateways_credential(provider: Provider) -> Credential | None:
    """What the provider is asked with where callers bring nothing of their own; None where they must."""
    if provider.platform is not None:
        return Credential("centralized", provider.platform.credentials.hint, None)
    return None if provider.key is None else central_credential(provider, provider.key)


def central_credential(provider: Provider, key: Secret) -> Credential:
    """The credential that one of the provider's central keys is."""
    value = key.reveal().encode("ascii")
    name = provider.key_header
    return Credential("centralized", key.hint, (name, b"Bearer " + value if name == _AUTHORIZATION else value))


def _own(provider: Provider, headers: Sequence[Header]) -> Credential | None:
    if CREDENTIAL_HEADERS.isdisjoint([name.lower() for name, _ in headers]):
        return None  # the usual case: the only credential was ours
    authorization, name = _single(headers, _AUTHORIZATION), provider.key_header
    _single(headers, _API_KEY)
    if name != _AUTHORIZATION and (key := _single(headers, name)):
        return Credential("byok", _hint(key), (name, key))
    token = _token(authorization)
    if not token or token == authorization:
        return None
    return Credential("byok", _hint(token), (_AUTHORIZATION, authorization))


def _single(headers: Sequence[Header], name: bytes) -> bytes:
    """The header's value; b"" when it is not there or empty."""
    values = [value for found, value in headers if found.lower() == name]
    if len(values) > 1:
        raise Refused(Problem(400, f"the header {name.decode()} occurs more than once"))
    return values[0].strip() if values else b""


def _token(value: bytes) -> bytes:
    """What follows `Bearer` (RFC 9110 section 11.1: in any case of letters); a value without it as it is."""
    scheme, _, token = value.partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else value


def _hint(value: bytes) -> str:
    return masked(value.decode("latin-1"))


def _missing(provider: Provider) -> str:
    if provider.type == "copilot":
        return f"provider {provider.name} needs your own Copilot token: send it as Authorization: Bearer"
    if not provider.allow_byok:
        return f"provider {provider.name} has no key and takes none of yours: ask who runs this gateway"
    bearer, name = "Authorization: Bearer", provider.key_header
    where = bearer if name == _AUTHORIZATION else f"{name.decode().title()} or {bearer}"
    return f"provider {provider.name} has no key of its own: send yours as {where}"

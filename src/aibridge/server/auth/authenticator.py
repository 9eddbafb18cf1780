"""Finds the actor of a request by a gateway key or a token of the identity provider, and takes both out of the request.

`X-AIBridge-Token` alone decides where it is present; the other credential headers then are the caller's own, for the
provider. Without it each of them may hold our credential, and once one does all are dropped: a forgotten second key is
not meant for a provider. What was revoked or suspended holds at the very next request: no decision is remembered here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aibridge.actor import Actor
from aibridge.database.files import DatabaseUnusable
from aibridge.errors import Header, Problem, Refused
from aibridge.ports import Clock, Identity
from aibridge.server.auth import own_keys
from aibridge.server.auth.bad_tokens import BadTokens
from aibridge.server.auth.denials import KEY_DENIED, NO_KEYS_HERE, TOKEN_EXPIRED, Denied
from aibridge.server.people import People
from aibridge.server.persons import KnownKey, SignedIn

if TYPE_CHECKING:
    from aibridge.server.auth.oidc.sign_in import TokenSignIn

# The second name is that of Coder's AI Gateway, for those who move over.
TOKEN_HEADERS = frozenset({b"x-aibridge-token", b"x-coder-ai-governance-token"})
# Where clients put what they call their API key. In this order they are tried.
_CREDENTIALS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
_ALL = TOKEN_HEADERS.union(_CREDENTIALS)

# With `x-should-retry: false` Claude Code shows the message at once; a plain 401 it retries for over a minute. Where it
# gets tokens from a command it runs that again all the same (2.1.329), and so does Codex (0.169.0).
_UNAUTHORIZED: tuple[Header, ...] = ((b"www-authenticate", b'Bearer realm="aibridge"'), (b"x-should-retry", b"false"))
_PLACES = "as Authorization: Bearer, X-Api-Key or X-AIBridge-Token"
_MISSING = f"no gateway key: send your aibridge key {_PLACES} (make one with: aibridge keys create)"
_MISSING_BOTH = f"no gateway key or token: send your aibridge key, or a token of your identity provider, {_PLACES}"
_MISSING_TOKEN = f"no token: send one of your identity provider {_PLACES}"
_IN_PATH = "the path has an aibridge key in it: send it in a header, and make a new one, for paths are written to logs"
_PATH_HOLDS_TOKEN = "the path has a token in it: send it in a header, for paths are written to logs"  # noqa: S105  it is a sentence


_log = logging.getLogger(__name__)


class GatewayAuthenticator:
    """See `aibridge.ports.Authenticator`.

    `tokens`: those of an identity provider let people in too; `keys`: gateway keys do. A value of one shape is never
    taken for the other. `tokens_first` says which counts where a request has one of each.
    """

    __slots__ = ("_bad_tokens", "_clock", "_keys", "_missing", "_order", "_people", "_tokens")

    def __init__(
        self,
        people: People,
        bad_tokens: BadTokens,
        clock: Clock,
        tokens: TokenSignIn | None = None,
        *,
        keys: bool = True,
        tokens_first: bool = False,
    ) -> None:
        self._people = people
        self._bad_tokens = bad_tokens
        self._clock = clock
        self._tokens = tokens
        self._keys = keys
        self._order = None if tokens is None else _is_key if tokens_first else _is_no_key
        self._missing = _MISSING if tokens is None else _MISSING_BOTH if keys else _MISSING_TOKEN

    @property
    def wanted(self) -> str:
        """What people sign in with, in words for them."""
        if self._tokens is None:
            return "your aibridge key"
        return (
            "your aibridge key or a token of your identity provider"
            if self._keys
            else "a token of your identity provider"
        )

    async def authenticate(self, scope: Mapping[str, Any]) -> Identity:
        signed_in, dropped = await self.sign_in(scope)
        if "use" not in signed_in.scopes:
            raise Refused(Problem(403, "your aibridge key may not send requests to models: it lacks the scope `use`"))
        user = signed_in.user
        actor = Actor(id=user.id, username=user.username, email=user.email, groups=user.groups)
        headers = own_keys.without_keys(scope["headers"], dropped)
        query = own_keys.query_without_keys(scope.get("query_string", b""))
        if self._tokens is not None:
            headers, query = self._tokens.own.without(headers), self._tokens.own.query_without(query)
        return Identity(actor, headers, query, credential_id=signed_in.credential_id)

    async def sign_in(self, scope: Mapping[str, Any]) -> tuple[SignedIn, frozenset[bytes]]:
        """Whom a request was sent by, and the names of the headers that are ours for that reason.

        Raises:
            Refused: 400 for a doubled credential or one in the path, 401, 403, 429 for too many bad ones, 503.
        """
        path = scope.get("raw_path") or b""
        if own_keys.path_holds_key(path):
            raise Refused(Problem(400, _IN_PATH))
        if self._tokens is not None and self._tokens.own.is_in_path(path):
            raise Refused(Problem(400, _PATH_HOLDS_TOKEN))
        given = _given(scope["headers"])
        token = given.pop(_TOKEN, None)
        values = [given[name] for name in _CREDENTIALS if name in given] if token is None else [token]
        if self._order is not None:
            values.sort(key=self._order)
        denied: Denied | None = None
        try:
            for value in values:
                found = self._by_key(value) if self._tokens is None else await self._by_either(self._tokens, value)
                if isinstance(found, SignedIn):
                    return found, _ALL if token is None else TOKEN_HEADERS
                if denied is None or denied.is_unknown:
                    denied = found
        except DatabaseUnusable:
            raise Refused(
                Problem(503, "keys cannot be checked at the moment", headers=((b"retry-after", b"1"),))
            ) from None
        if denied is None:
            raise Refused(Problem(401, self._missing, headers=_UNAUTHORIZED))
        raise self._refused(denied, scope)

    def standing(self, credential_id: str) -> SignedIn | Denied:
        """What the credential that let somebody in is good for now, by its id. Raises: DatabaseUnusable."""
        if self._tokens is not None:
            found = self._tokens.standing(credential_id)
            if found is not None:
                return found
        known = self._people.look_up(credential_id) if self._keys else None
        if known is None:
            return KEY_DENIED["unknown"]
        denial = self._people.why_dead(known)
        return SignedIn(known.key.id, known.user, known.key.scopes) if denial is None else KEY_DENIED[denial]

    def _by_key(self, value: str) -> SignedIn | Denied:
        found = self._people.identify(value)
        if isinstance(found, KnownKey):
            return SignedIn(found.key.id, found.user, found.key.scopes)
        return KEY_DENIED[found]

    async def _by_either(self, tokens: TokenSignIn, value: str) -> SignedIn | Denied:
        if not _is_key(value):
            return await tokens.identified(value)
        return self._by_key(value) if self._keys else NO_KEYS_HERE

    def _refused(self, denied: Denied, scope: Mapping[str, Any]) -> Refused:
        if denied is TOKEN_EXPIRED:  # its signature was good: nobody guesses here, and everybody has one in every hour
            return Refused(Problem(401, denied.words, headers=_UNAUTHORIZED))
        address = (scope.get("client") or ("",))[0]
        wait = self._bad_tokens.count(address, self._clock.monotonic())
        if wait:
            if self._bad_tokens.is_first_too_many(address):
                _log.warning("too many bad keys or tokens from one address", extra={"address": address})
            told = ((b"retry-after", str(wait).encode()), (b"x-should-retry", b"false"))
            return Refused(Problem(429, "too many bad keys from your address: wait a minute", headers=told))
        return Refused(Problem(401, denied.words, headers=_UNAUTHORIZED))


def _is_key(value: str) -> bool:
    """Whether it has the beginning of a key, which no token has: those begin with `{` in base64."""
    return value.startswith("aib_")


def _is_no_key(value: str) -> bool:
    return not _is_key(value)


_TOKEN = b"token"


def _given(headers: Sequence[Header]) -> dict[bytes, str]:
    """The credentials of a request by header; both token headers under one name. Raises: Refused."""
    given: dict[bytes, str] = {}
    for header, value in [header for header in headers if header[0].lower() in _ALL]:
        name = header.lower()
        if name in TOKEN_HEADERS:
            name = _TOKEN
        if name in given:
            raise Refused(Problem(400, f"the header {header.decode('ascii', 'replace')} occurs more than once"))
        given[name] = _bare(value)
    return {name: value for name, value in given.items() if value}


def _bare(value: bytes) -> str:
    """What follows `Bearer` (RFC 9110 section 11.1: in any case of letters); a value without it as it is."""
    scheme, _, rest = value.strip().partition(b" ")
    return (rest.strip() if scheme.lower() == b"bearer" else value.strip()).decode("latin-1")

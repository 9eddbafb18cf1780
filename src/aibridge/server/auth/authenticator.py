"""Finds the actor of a request by a gateway key, and takes every such key out of the request.

`X-AIBridge-Token` alone decides where it is present; the other credential headers then are the caller's own, for the
provider. Without it each of them may hold our key, and once one does all are dropped: a forgotten second key is not
meant for a provider. What was revoked or suspended holds at the very next request: nothing is remembered here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aibridge.actor import Actor
from aibridge.database.files import DatabaseUnusable
from aibridge.errors import Header, Problem, Refused
from aibridge.ports import Clock, Identity
from aibridge.server.auth import own_keys
from aibridge.server.auth.bad_tokens import BadTokens
from aibridge.server.people import People
from aibridge.server.persons import Denial, KnownKey

# The second name is that of Coder's AI Gateway, for those who move over.
TOKEN_HEADERS = frozenset({b"x-aibridge-token", b"x-coder-ai-governance-token"})
# Where clients put what they call their API key. In this order they are tried.
_CREDENTIALS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
_ALL = TOKEN_HEADERS.union(_CREDENTIALS)

# With `x-should-retry: false` Claude Code shows the message at once; a plain 401 it retries for over a minute.
_UNAUTHORIZED: tuple[Header, ...] = ((b"www-authenticate", b'Bearer realm="aibridge"'), (b"x-should-retry", b"false"))
_MISSING = (
    "no gateway key: send your aibridge key as Authorization: Bearer, X-Api-Key or X-AIBridge-Token "
    "(make one with: aibridge keys create)"
)
_IN_PATH = "the path has an aibridge key in it: send it in a header, and make a new one, for paths are written to logs"
DENIED: dict[Denial, str] = {
    "unknown": "this is no key of this gateway: send your aibridge key, whole (make one with: aibridge keys create)",
    "revoked": "your aibridge key has been revoked: use another (make one with: aibridge keys create)",
    "expired": "your aibridge key has expired: use another (make one with: aibridge keys create)",
    "suspended": "your account is suspended at this gateway: ask who runs it",
}


class KeyAuthenticator:
    """See `aibridge.ports.Authenticator`."""

    __slots__ = ("_bad_tokens", "_clock", "_people")

    def __init__(self, people: People, bad_tokens: BadTokens, clock: Clock) -> None:
        self._people = people
        self._bad_tokens = bad_tokens
        self._clock = clock

    async def authenticate(self, scope: Mapping[str, Any]) -> Identity:
        known, dropped = self.sign_in(scope)
        if "use" not in known.key.scopes:
            raise Refused(Problem(403, "your aibridge key may not send requests to models: it lacks the scope `use`"))
        user = known.user
        actor = Actor(id=user.id, username=user.username, email=user.email, groups=user.groups)
        headers = own_keys.without_keys(scope["headers"], dropped)
        query = own_keys.query_without_keys(scope.get("query_string", b""))
        return Identity(actor, headers, query, credential_id=known.key.id)

    def sign_in(self, scope: Mapping[str, Any]) -> tuple[KnownKey, frozenset[bytes]]:
        """The key that a request was sent with, and the names of the headers that are ours for that reason.

        Raises:
            Refused: 400 for a doubled credential or a key in the path, 401, 429 for too many bad ones, 503.
        """
        if own_keys.path_holds_key(scope.get("raw_path") or b""):
            raise Refused(Problem(400, _IN_PATH))
        given = _given(scope["headers"])
        token = given.pop(_TOKEN, None)
        values = [given[name] for name in _CREDENTIALS if name in given] if token is None else [token]
        denial: Denial | None = None
        for value in values:
            found = self._identified(value)
            if isinstance(found, KnownKey):
                return found, _ALL if token is None else TOKEN_HEADERS
            if denial is None or denial == "unknown":
                denial = found
        if denial is None:
            raise Refused(Problem(401, _MISSING, headers=_UNAUTHORIZED))
        raise self._refused(denial, scope)

    def _identified(self, value: str) -> KnownKey | Denial:
        try:
            return self._people.identify(value)
        except DatabaseUnusable:
            raise Refused(
                Problem(503, "keys cannot be checked at the moment", headers=((b"retry-after", b"1"),))
            ) from None

    def _refused(self, denial: Denial, scope: Mapping[str, Any]) -> Refused:
        address = (scope.get("client") or ("",))[0]
        wait = self._bad_tokens.count(address, self._clock.monotonic())
        if wait:
            headers = ((b"retry-after", str(wait).encode()), (b"x-should-retry", b"false"))
            return Refused(Problem(429, "too many bad keys from your address: wait a minute", headers=headers))
        return Refused(Problem(401, DENIED[denial], headers=_UNAUTHORIZED))


_TOKEN = b"token"


def _given(headers: Sequence[Header]) -> dict[bytes, str]:
    """The credentials of a request by header; both token headers under one name. Raises: Refused."""
    given: dict[bytes, str] = {}
    for header, value in headers:
        name = header.lower()
        if name not in _ALL:
            continue
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

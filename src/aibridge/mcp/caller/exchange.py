"""One exchange of a caller's token for one that a server takes (RFC 8693): what is asked, and what is believed of the answer.

The caller's token goes to the token endpoint and nowhere else; of its answers no word but an error's code is quoted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import httpx2
import msgspec

from aibridge.mcp.caller.tokens import CallerToken
from aibridge.mcp.oauth.fetching import Fetching
from aibridge.mcp.oauth.posting import error_of, posted, why
from aibridge.mcp.oauth.values import SECRETLESS, WITH_SECRET, LoginFailed, OAuthClient
from aibridge.mcp.servers import McpServer

_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_KIND = "urn:ietf:params:oauth:token-type:"
_SENDABLE = ("access_token", "jwt")
# Refusals of the gateway, or of nobody in particular: no other person would fare better.
_OF_ALL = frozenset(
    {
        "invalid_client",
        "unauthorized_client",
        "unsupported_grant_type",
        "server_error",
        "temporarily_unavailable",
        "slow_down",
    }
)
_UNSAID = 300.0  # seconds that a token is used for where nobody says how long it lives
_LONGEST = 86400.0  # seconds; whatever is said, it is asked for again after a day
_LARGEST = 32 * 1024  # characters of a token; servers take 8 to 64 KiB of headers


class ExchangeFailed(Exception):
    """There is no token now, for nobody. The text is for the person, and no secret."""


class ExchangeDenied(ExchangeFailed):
    """There is none for this person."""


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """Where tokens are exchanged. `methods`: how clients may authenticate there (RFC 8414). `ca_bundle`: if it has its own."""

    url: str = field(repr=False)
    allow_private: bool
    methods: tuple[str, ...] = WITH_SECRET
    ca_bundle: str | None = None


FindEndpoint = Callable[[], Awaitable[TokenEndpoint]]
"""That of the callers' identity provider. Raises: ExchangeFailed."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A token for one server and one person. Times are in seconds since 1970; `renew_at` is some time before the end."""

    value: str = field(repr=False)
    renew_at: float
    expires_at: float


class _Answer(msgspec.Struct):
    access_token: str
    token_type: str
    issued_token_type: str = f"{_KIND}access_token"  # required, and left out by many
    expires_in: float | None = None


async def exchanged(server: McpServer, subject: CallerToken, at: TokenEndpoint, now: float, http: Fetching) -> Issued:
    """A token for `server`, which lives no longer than the one that it comes from. Raises: ExchangeFailed."""
    asked = {
        "grant_type": _GRANT,
        "subject_token": subject.value,
        "subject_token_type": f"{_KIND}{server.subject_token_type}",
        "requested_token_type": f"{_KIND}access_token",
        # A name that the identity provider knows, where one is configured, or the server's own URI.
        **({"resource": server.resource} if server.audience is None else {"audience": server.audience}),
        **({"scope": " ".join(server.scopes)} if server.scopes else {}),
    }
    try:
        answer = await posted(at.url, asked, _client(server, at), http)
    except LoginFailed as error:
        raise ExchangeFailed(f"your token cannot be exchanged now: {error}") from None
    if answer.status_code != 200:
        if answer.status_code in (400, 401, 403) and error_of(answer) not in _OF_ALL:
            raise ExchangeDenied(f"your identity provider gives you no token for this server{why(answer)}")
        raise ExchangeFailed(f"your identity provider exchanges no tokens for this server now{why(answer)}")
    return _issued(answer, subject, now)


def _client(server: McpServer, at: TokenEndpoint) -> OAuthClient:
    assert server.client_id is not None
    secret = None if server.client_secret is None else server.client_secret.reveal()
    method = next((each for each in at.methods if each in WITH_SECRET), WITH_SECRET[0])
    return OAuthClient(
        issuer="", client_id=server.client_id, client_secret=secret, method=SECRETLESS if secret is None else method
    )


def _issued(answer: httpx2.Response, subject: CallerToken, now: float) -> Issued:
    try:
        said = msgspec.json.decode(answer.content, type=_Answer, strict=False)
    except (ValueError, RecursionError):
        raise _unusable("cannot be read") from None
    token, kind = said.access_token, said.issued_token_type.removeprefix(_KIND)
    if said.token_type.lower() != "bearer" or kind not in _SENDABLE:
        raise _unusable("is of a kind that is not sent")
    if not token or len(token) > _LARGEST or not token.isascii() or not token.isprintable() or " " in token:
        raise _unusable("cannot be sent")
    if token == subject.value:
        raise _unusable("is the one that it was given, which is for this gateway")
    life = _UNSAID if said.expires_in is None else min(said.expires_in, _LONGEST)
    life = min(life, subject.expires_at - now)
    if not life > 0:
        raise _unusable("has ended already")
    # Half a minute early, so that it does not end on the way; one that lives for a minute is used for most of it.
    return Issued(token, renew_at=now + max(life - 30.0, life * 0.75), expires_at=now + life)


def _unusable(what: str) -> ExchangeFailed:
    return ExchangeFailed(f"the token that your identity provider gives for this server {what}")

"""What is asked of an authorization server: to know us, to give tokens for a code, to renew them, to end them.

Its answers are quoted nowhere: only an error's code, which is a word of RFC 6749, gets into a message.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx2
import msgspec
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
from pydantic import ValidationError

from aibridge.mcp.oauth.discovery import GRANTS
from aibridge.mcp.oauth.fetching import Fetching
from aibridge.mcp.oauth.posting import error_of, posted, why
from aibridge.mcp.oauth.values import (
    SECRETLESS,
    WITH_SECRET,
    Attempt,
    AuthorizationServer,
    Login,
    LoginFailed,
    LoginGone,
    OAuthClient,
)

_OF_LOGINS = frozenset({"invalid_grant"})
_OF_CLIENTS = frozenset({"invalid_client", "unauthorized_client"})
_LATEST = 4102444800  # the year 2100, as good as never


async def registered(at: AuthorizationServer, redirect_uri: str, http: Fetching) -> OAuthClient:
    """A client of our own, made for us now (RFC 7591). Raises: LoginFailed."""
    if at.registration_endpoint is None:
        raise LoginFailed("its authorization server makes no clients: set client_id")
    wanted = {
        "client_name": "aibridge",
        "redirect_uris": [redirect_uri],
        "grant_types": GRANTS,
        "response_types": ["code"],
        "token_endpoint_auth_method": SECRETLESS if at.methods == (SECRETLESS,) else at.secret_method,
        "application_type": "web" if redirect_uri.startswith("https:") else "native",
        **({} if at.scope is None else {"scope": at.scope}),
    }
    answer = await http.post(at.registration_endpoint, msgspec.json.encode(wanted), "application/json", {})
    if answer.status_code not in (200, 201):
        raise LoginFailed(f"its authorization server registers no client{why(answer)}")
    try:
        made = OAuthClientInformationFull.model_validate_json(answer.content)
    except ValidationError:
        raise LoginFailed("its authorization server's answer to a registration cannot be read") from None
    method = made.token_endpoint_auth_method or (SECRETLESS if made.client_secret is None else at.secret_method)
    if method not in (*WITH_SECRET, SECRETLESS):
        raise LoginFailed("its authorization server wants clients to authenticate in a way that is not spoken here")
    ends = made.client_secret_expires_at
    return OAuthClient(
        issuer=at.issuer,
        client_id=made.client_id,
        client_secret=made.client_secret,
        method=method,
        ends_at=datetime.fromtimestamp(min(ends, _LATEST), UTC) if ends and ends > 0 else None,
    )


async def login_for(attempt: Attempt, code: str, now: datetime, http: Fetching) -> Login:
    """The tokens for a code. Raises: LoginFailed."""
    asked = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": attempt.redirect_uri,
        "code_verifier": attempt.verifier,
        "resource": attempt.at.resource,
    }
    answer = await posted(attempt.at.token_endpoint, asked, attempt.client, http)
    if answer.status_code != 200:
        raise LoginFailed(f"its authorization server gives no token{why(answer)}")
    token = _token(answer)
    return Login(
        url=attempt.url,
        client=attempt.client,
        at=attempt.at,
        access_token=token.access_token,
        refresh_token=token.refresh_token,
        expires_at=_end(token, now),
        renewed_at=now,
    )


async def renewed(login: Login, now: datetime, http: Fetching, *, registered: bool) -> Login:
    """The login with new tokens. `registered`: its client was made for us, and is not of the configuration.

    Raises:
        LoginGone: there will be none. LoginFailed: there is none now.
    """
    if login.refresh_token is None:
        raise LoginGone("it has ended and cannot be renewed")
    asked = {"grant_type": "refresh_token", "refresh_token": login.refresh_token, "resource": login.at.resource}
    answer = await posted(login.at.token_endpoint, asked, login.client, http)
    # A registered client that is not known any more will not be known again; a configured one is put right some day.
    final = _OF_LOGINS | _OF_CLIENTS if registered else _OF_LOGINS
    if answer.status_code in (400, 401) and error_of(answer) in final:
        raise LoginGone(f"it was ended by the authorization server{why(answer)}")
    if answer.status_code != 200:
        raise LoginFailed(f"its authorization server renews nothing now{why(answer)}")
    token = _token(answer)
    return replace(
        login,
        access_token=token.access_token,
        refresh_token=token.refresh_token or login.refresh_token,  # it need not be another (RFC 6749 section 6)
        expires_at=_end(token, now),
        renewed_at=now,
    )


async def revoked(login: Login, http: Fetching) -> bool:
    """Whether the authorization server took the tokens back (RFC 7009). Raises: LoginFailed: nobody knows."""
    if login.at.revocation_endpoint is None:
        return False
    token, kind = login.refresh_token, "refresh_token"
    if token is None:
        token, kind = login.access_token, "access_token"
    asked = {"token": token, "token_type_hint": kind}
    answer = await posted(login.at.revocation_endpoint, asked, login.client, http)
    return answer.status_code == 200


def _token(answer: httpx2.Response) -> OAuthToken:
    try:
        token = OAuthToken.model_validate_json(answer.content)
    except ValidationError:
        raise LoginFailed("its authorization server's token cannot be read") from None
    if not token.access_token or not token.access_token.isascii() or not token.access_token.isprintable():
        raise LoginFailed("its authorization server's token cannot be sent")
    return token


def _end(token: OAuthToken, now: datetime) -> datetime | None:
    if token.expires_in is None:
        return None
    return now + timedelta(seconds=min(max(token.expires_in, 0), 10 * 365 * 86400))

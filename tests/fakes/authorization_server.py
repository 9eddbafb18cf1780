"""An authorization server on loopback that is as strict as the RFCs want, and wrong where a test says so.

It knows people by the `login_hint`-like field `person`: whoever is set there is who sits at its own login page.
"""

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from aibridge.server.demo.simulator.serving import serve_simulator

BASIC = "client_secret_basic"


@dataclass
class AuthorizationServer:
    """Who logged in, what was given out, and what was asked."""

    url: str = ""
    person: str = "ada"
    life: int | None = 3600
    rotates: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)  # in place of what it would say; None takes a field away
    answer: dict[str, str] = field(default_factory=dict)  # the same for the way back
    clients: dict[str, dict[str, Any]] = field(default_factory=dict)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    access: dict[str, str] = field(default_factory=dict)  # token -> person
    refresh: dict[str, tuple[str, str]] = field(default_factory=dict)  # token -> client, person
    given: list[str] = field(default_factory=list)  # every secret that ever left it
    authorizations: list[dict[str, str]] = field(default_factory=list)
    exchanges: list[dict[str, str]] = field(default_factory=list)
    revocations: list[dict[str, str]] = field(default_factory=list)
    before: Callable[[Request], Any] | None = None

    def __post_init__(self) -> None:
        self.routes = [
            Route("/.well-known/oauth-authorization-server", self.described),
            Route("/authorize", self.authorize),
            Route("/register", self.register, methods=["POST"]),
            Route("/token", self.token, methods=["POST"]),
            Route("/revoke", self.revoke, methods=["POST"]),
        ]

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await Starlette(routes=self.routes)(scope, receive, send)

    async def described(self, request: Request) -> Response:
        said = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "registration_endpoint": f"{self.url}/register",
            "revocation_endpoint": f"{self.url}/revoke",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [BASIC, "client_secret_post", "none"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }
        return JSONResponse({name: value for name, value in said.items() if value is not None})

    async def register(self, request: Request) -> Response:
        wanted = msgspec.json.decode(await request.body(), type=dict[str, Any])
        client_id, secret = f"client-{len(self.clients)}", self._secret("client-secret")
        self.clients[client_id] = {**wanted, "client_id": client_id, "client_secret": secret}
        return JSONResponse(self.clients[client_id], 201)

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.authorizations.append(asked)
        client = self.clients[asked["client_id"]]
        assert asked["redirect_uri"] in client["redirect_uris"]
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        code = self._secret("code")
        self.codes[code] = {**asked, "person": self.person}
        answer = {"code": code, "state": asked["state"], "iss": self.url, **self.answer}
        back = urlencode({name: value for name, value in answer.items() if value})
        return RedirectResponse(f"{asked['redirect_uri']}?{back}", 302)

    async def token(self, request: Request) -> Response:
        asked = dict(parse_qsl((await request.body()).decode()))
        self.exchanges.append(asked)
        if self.before is not None and (response := await self.before(request)) is not None:
            return response  # type: ignore[no-any-return]  # a test's own
        client_id = self._client(request, asked)
        if client_id is None:
            return JSONResponse({"error": "invalid_client"}, 401)
        if asked["grant_type"] == "authorization_code":
            begun = self.codes.pop(asked["code"], None)
            challenge = base64.urlsafe_b64encode(hashlib.sha256(asked["code_verifier"].encode()).digest())
            if (
                begun is None
                or begun["client_id"] != client_id
                or begun["redirect_uri"] != asked["redirect_uri"]
                or begun["code_challenge"] != challenge.decode().rstrip("=")
                or begun["resource"] != asked["resource"]
            ):
                return JSONResponse({"error": "invalid_grant"}, 400)
            return self._tokens(client_id, begun["person"])
        owner = self.refresh.get(asked["refresh_token"])
        if owner is None or owner[0] != client_id:
            return JSONResponse({"error": "invalid_grant"}, 400)
        if self.rotates:
            del self.refresh[asked["refresh_token"]]
        return self._tokens(client_id, owner[1])

    async def revoke(self, request: Request) -> Response:
        asked = dict(parse_qsl((await request.body()).decode()))
        self.revocations.append(asked)
        self.refresh.pop(asked["token"], None)
        return Response("")

    def end_all(self) -> None:
        """Nobody's tokens are worth anything any more."""
        self.access.clear()
        self.refresh.clear()

    def _client(self, request: Request, asked: dict[str, str]) -> str | None:
        """Who asks, if it says so in the way that it was registered with, and in no other."""
        client = self.clients.get(asked["client_id"])
        if client is None:
            return None
        scheme, _, pair = request.headers.get("authorization", "").partition(" ")
        basic = base64.b64decode(pair).decode() if scheme == "Basic" else None
        secret = client["client_secret"]
        expected = {
            BASIC: (f"{asked['client_id']}:{secret}", None),
            "client_secret_post": (None, secret),
            "none": (None, None),
        }[client.get("token_endpoint_auth_method", BASIC)]
        return asked["client_id"] if (basic, asked.get("client_secret")) == expected else None

    def _tokens(self, client_id: str, person: str) -> Response:
        access, refresh = self._secret("access"), self._secret("refresh")
        self.access[access] = person
        self.refresh[refresh] = (client_id, person)
        said = {"access_token": access, "token_type": "bearer", "refresh_token": refresh}
        return JSONResponse(said if self.life is None else {**said, "expires_in": self.life})

    def _secret(self, kind: str) -> str:
        word = f"{kind}-{secrets.token_urlsafe(24)}"
        self.given.append(word)
        return word


@asynccontextmanager
async def serving_authorization() -> AsyncIterator[AuthorizationServer]:
    server = AuthorizationServer()
    async with serve_simulator(server.app) as url:
        server.url = url
        yield server

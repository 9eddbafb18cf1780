"""An identity provider on loopback that signs as real ones do, rotates its keys, and is down, slow or wrong where a
test says so.
"""

import asyncio
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, KeyParameters, OKPKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aibridge.server.demo.simulator.serving import serve_simulator

SigningKey = RSAKey | ECKey | OKPKey
Kind = Literal["RS256", "PS256", "ES256", "EdDSA"]
AUDIENCE = "aibridge"


def signing_key(kind: Kind = "ES256", kid: str | None = "key-1") -> SigningKey:
    """A new key for that algorithm."""
    named: KeyParameters | None = None if kid is None else {"kid": kid}
    if kind == "ES256":
        return ECKey.generate_key("P-256", named)
    if kind == "EdDSA":
        return OKPKey.generate_key("Ed25519", named)
    return RSAKey.generate_key(2048, named)


@dataclass
class OidcIssuer:
    """Who it is, what it signs with, what it shows, and how often it was asked for what."""

    url: str = ""
    kind: Kind = "ES256"
    key: SigningKey = field(default_factory=signing_key)
    shown: list[SigningKey] | None = None  # None: the key that it signs with
    metadata: dict[str, Any] = field(default_factory=dict)  # in place of what it would say; None takes a field away
    asked: Counter[str] = field(default_factory=Counter)
    is_down: bool = False
    body: bytes | None = None  # in place of the document of keys
    open: asyncio.Event = field(default_factory=asyncio.Event)  # cleared: it does not answer until it is set
    routes: list[Route] = field(default_factory=list)
    given: list[str] = field(default_factory=list)  # every token that it made

    def __post_init__(self) -> None:
        self.open.set()
        self.routes += [Route("/.well-known/openid-configuration", self.described), Route("/keys", self.keys)]

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await Starlette(routes=self.routes)(scope, receive, send)

    async def described(self, request: Request) -> Response:
        said = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint": f"{self.url}/token",
            **self.metadata,
        }
        document = JSONResponse({name: value for name, value in said.items() if value is not None})
        return await self._answered("configuration", document)

    async def keys(self, request: Request) -> Response:
        shown = [self.key] if self.shown is None else self.shown
        document = JSONResponse({"keys": [{**key.as_dict(private=False), "use": "sig"} for key in shown]})
        return await self._answered("keys", document if self.body is None else Response(self.body))

    async def _answered(self, what: str, response: Response) -> Response:
        self.asked[what] += 1
        await self.open.wait()
        return Response("down", 503) if self.is_down else response

    def rotate(self, kid: str) -> None:
        """From now on it signs with another key, and shows that one alone."""
        self.key, self.shown = signing_key(self.kind, kid), None

    def claims(
        self, subject: str = "sub-ada", *, life: float = 3600, at: float | None = None, **more: Any
    ) -> dict[str, Any]:
        """Those of a token of somebody; None takes a claim away."""
        now = time.time() if at is None else at
        said = {
            "iss": self.url,
            "sub": subject,
            "aud": AUDIENCE,
            "iat": int(now),
            "exp": int(now + life),
            "preferred_username": subject.removeprefix("sub-"),
            "email": f"{subject.removeprefix('sub-')}@example.org",
            **more,
        }
        return {name: value for name, value in said.items() if value is not None}

    def token(self, subject: str = "sub-ada", *, life: float = 3600, at: float | None = None, **more: Any) -> str:
        return self.signed(self.claims(subject, life=life, at=at, **more))

    def signed(
        self, claims: dict[str, Any], *, key: SigningKey | None = None, header: dict[str, Any] | None = None
    ) -> str:
        """Any claims at all, signed; `header` holds what differs, None takes a field away."""
        key = self.key if key is None else key
        said = {"alg": self.kind, "typ": "JWT", "kid": key.kid, **(header or {})}
        protected = {name: value for name, value in said.items() if value is not None}
        registry = jws.JWSRegistry(algorithms=[protected["alg"]], strict_check_header=False)
        with warnings.catch_warnings(action="ignore", category=SecurityWarning):  # of `EdDSA`, an older name
            token = jws.serialize_compact(protected, msgspec.json.encode(claims), key, registry=registry)
        self.given.append(token)
        return token


@asynccontextmanager
async def serving_oidc(kind: Kind = "ES256") -> AsyncIterator[OidcIssuer]:
    issuer = OidcIssuer(kind=kind, key=signing_key(kind))
    async with serve_simulator(issuer.app) as url:
        issuer.url = url
        yield issuer

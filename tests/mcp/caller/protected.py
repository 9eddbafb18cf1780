"""A server that lets in whom a token of an identity provider names, with that person's rights; and who exchanges tokens."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import mcp_types as types
from joserfc import jwt
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aibridge.actor import Actor
from aibridge.credentials import Secret
from aibridge.mcp import McpServer, McpToolbox
from aibridge.mcp.authorization import fixed_authorization
from aibridge.mcp.caller.authorization import caller_authorization
from aibridge.mcp.caller.exchange import TokenEndpoint
from aibridge.mcp.caller.exchanges import Exchanges
from aibridge.mcp.oauth.values import WITH_SECRET
from aibridge.ports import Identity
from aibridge.server.auth.caller_tokens import CallerTokens
from tests.fakes.clock import FakeClock
from tests.fakes.oidc import AUDIENCE, OidcIssuer, serving_oidc
from tests.mcp.real_servers import Wiki, at, names, serving, text, tool
from tests.waiting import BOUND

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
KIND = "urn:ietf:params:oauth:token-type:"
CLIENT, CLIENT_SECRET = "gateway-client", "canary-client-secret-0123456789"
ADA = Identity(Actor(id="id-of-ada", username="ada"), [], b"")
BOB = Identity(Actor(id="id-of-bob", username="bob"), [], b"")


def claims_of(token: str, issuer: OidcIssuer, now: float) -> dict[str, Any] | None:
    """The claims of a token that this issuer has signed, and that lives; None: it is none."""
    try:
        claims = jwt.decode(token, issuer.key, algorithms=[issuer.kind]).claims
    except (JoseError, ValueError):
        return None
    return claims if claims["iss"] == issuer.url and claims["exp"] > now else None


def audiences_of(claims: dict[str, Any]) -> list[str]:
    said = claims["aud"]
    return [said] if isinstance(said, str) else list(said)


class Tracker(Wiki):
    """A wiki for people: it checks each token, and only who has the scope `write` sees the tool of that name."""

    def __init__(self, issuer: OidcIssuer, now: Callable[[], float], *, audience: str = "") -> None:
        super().__init__(tool("read"), tool("write"))
        self.issuer = issuer
        self.now = now
        self.audience = audience  # empty: its own URI
        self.refuses: set[str] = set()  # tokens that it does not take any more
        self.holds: Callable[[Request], asyncio.Event | None] | None = None  # what that request waits for
        self.before = self.checked

    @property
    def shown(self) -> list[str]:
        """All tokens that it was ever shown."""
        return list(dict.fromkeys(token_in(request) for request in self.requests if token_in(request)))

    async def asked(self, request: Request) -> None:
        held = None if self.holds is None else self.holds(request)
        if held is not None:
            await held.wait()

    def checked(self, request: Request) -> Response | None:
        token = token_in(request)
        claims = claims_of(token, self.issuer, self.now())
        mine = self.audience or f"http://{request.headers['host']}/mcp"
        if claims is None or mine not in audiences_of(claims) or token in self.refuses:
            return Response("", 401, {"www-authenticate": 'Bearer error="invalid_token"'})
        return None

    async def list_tools(self, context: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        listed = await super().list_tools(context, params)
        mine = [each for each in listed.tools if each.name == "read" or "write" in self._asker(context)["scope"]]
        return types.ListToolsResult(tools=mine)

    async def call_tool(
        self, context: Any, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        if params.name not in self.answers:
            self.calls.append((params.name, params.arguments or {}))
            return text(f"{params.name} as {self._asker(context)['sub']}")
        return await super().call_tool(context, params)

    def _asker(self, context: Any) -> dict[str, Any]:
        claims = claims_of(token_in(context.request), self.issuer, 0.0)
        assert claims is not None
        return {"scope": "", **claims}


def token_in(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class Exchange:
    """The token endpoint of an issuer: strict, or wrong where a test says so. It is found at `/token`."""

    issuer: OidcIssuer
    now: Callable[[], float]
    scopes: dict[str, str] = field(default_factory=dict)  # of people, by their `sub`
    life: int | None = 600
    said: dict[str, Any] = field(default_factory=dict)  # in place of what it would say; None takes a field away
    before: Callable[[Request], Response | None] | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    given: list[str] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()
        self.issuer.routes.append(Route("/token", self.token, methods=["POST"]))

    async def token(self, request: Request) -> Response:
        asked = dict(parse_qsl((await request.body()).decode(), strict_parsing=True))
        self.asked.append(asked)
        self.came.set()
        await self.open.wait()
        if self.before is not None and (response := self.before(request)) is not None:
            return response
        pair = base64.b64decode(request.headers.get("authorization", "").removeprefix("Basic ")).decode()
        if pair != f"{CLIENT}:{CLIENT_SECRET}":
            return JSONResponse({"error": "invalid_client"}, 401)
        if asked["grant_type"] != GRANT or asked["subject_token_type"] != f"{KIND}access_token":
            return JSONResponse({"error": "invalid_request"}, 400)
        subject = claims_of(asked["subject_token"], self.issuer, self.now())
        if subject is None or AUDIENCE not in audiences_of(subject):
            return JSONResponse({"error": "invalid_grant", "error_description": asked["subject_token"]}, 400)
        return JSONResponse(self._issued(asked, subject["sub"]), headers={"cache-control": "no-store"})

    def _issued(self, asked: dict[str, str], person: str) -> dict[str, Any]:
        named = [asked[name] for name in ("resource", "audience") if name in asked]
        token = self.issuer.token(
            person,
            at=self.now(),
            life=self.life or 3600,
            aud=named,
            scope=self.scopes.get(person, "read"),
            jti=len(self.given),
        )
        self.given.append(token)
        said = {
            "access_token": token,
            "issued_token_type": f"{KIND}access_token",
            "token_type": "Bearer",
            "expires_in": self.life,
            **self.said,
        }
        return {name: value for name, value in said.items() if value is not None}


@dataclass
class House:
    """A tracker, the identity provider of its people, and a toolbox that is told what they came with."""

    issuer: OidcIssuer
    exchange: Exchange
    tracker: Tracker
    server: McpServer
    tokens: CallerTokens
    exchanges: Exchanges
    toolbox: McpToolbox
    clock: FakeClock

    def comes(self, identity: Identity, *audiences: str, life: float = 3600, scope: str = "read", **more: Any) -> str:
        """That person asks the gateway with a new token, for the gateway and those audiences."""
        now = self.clock.now().timestamp()
        named = [AUDIENCE, *audiences]
        subject = f"sub-{identity.actor.username}"
        token = self.issuer.token(subject, at=now, life=life, aud=named, scope=scope, **more)
        self.tokens.seen(identity.actor.id, token, now + life, tuple(named))
        return token


async def offered(h: House, identity: Identity, *expected: str) -> bool:
    """Whether these are that person's tools, sooner or later."""
    try:
        async with asyncio.timeout(BOUND):
            while names(await h.toolbox.tools(identity)) != list(expected):  # noqa: ASYNC110  there is no event to wait for
                await asyncio.sleep(0)
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def house(
    *, deadline: float = 10.0, private_endpoint: bool = True, methods: tuple[str, ...] = WITH_SECRET, **settings: Any
) -> AsyncIterator[House]:
    clock = FakeClock()

    def now() -> float:
        return clock.now().timestamp()

    async with serving_oidc() as issuer:
        tracker = Tracker(issuer, now, audience=settings.get("audience", ""))
        exchange = Exchange(issuer, now)
        tokens = CallerTokens(clock)

        async def find() -> TokenEndpoint:
            return TokenEndpoint(f"{issuer.url}/token", allow_private=private_endpoint, methods=methods)

        if settings.get("exchange"):
            settings = {"client_id": CLIENT, "client_secret": Secret(CLIENT_SECRET), **settings}
        async with (
            serving(tracker) as url,
            Exchanges(tokens, find, clock=clock, chance=lambda: 1.0, deadline=deadline) as exchanges,
        ):
            server = at(url, "tracker", auth="caller", **settings)
            authorization = caller_authorization(tokens, exchanges, fixed_authorization)
            async with McpToolbox([server], authorization=authorization, clock=clock, chance=lambda: 1.0) as toolbox:
                yield House(issuer, exchange, tracker, server, tokens, exchanges, toolbox, clock)

"""A company whose people come with tokens of its identity provider: its tracker, which checks them, and its gateway."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from tests.fakes.oidc import AUDIENCE, OidcIssuer, serving_oidc
from tests.mcp.caller.protected import CLIENT, CLIENT_SECRET, Exchange, Tracker
from tests.mcp.real_servers import serving
from tests.server.installation import Installation

LOOK_UP = "Use tracker_read to look it up."
EXCHANGE = f'exchange = true\nclient_id = "{CLIENT}"\nclient_secret = "env:EXCHANGING"\n'


@dataclass
class Company:
    """Its identity provider, its tracker, and its gateway."""

    issuer: OidcIssuer
    exchange: Exchange
    tracker: Tracker
    url: str
    installation: Installation

    def configure(self, more: str, rest: str = "", audience: str = AUDIENCE) -> None:
        oidc = f'[auth.oidc]\nissuer = "{self.issuer.url}"\naudience = "{audience}"\nallow_private = true\n'
        tracker = (
            f'[[mcp_servers]]\nname = "tracker"\nurl = "{self.url}"\nallow_private = true\nauth = "caller"\n{more}'
        )
        self.installation.configure(f"{oidc}{rest}{tracker}")

    def token(self, person: str, *audiences: str, **more: Any) -> str:
        return self.issuer.token(f"sub-{person}", aud=[AUDIENCE, *audiences], scope="read", **more)


@asynccontextmanager
async def company_in(folder: Path) -> AsyncIterator[Company]:
    provider = SimulatedProvider()
    async with serve_simulator(provider) as provider_url, serving_oidc() as issuer:
        tracker = Tracker(issuer, time.time)
        environ = {"AIBRIDGE_AUTH__MODES": "oidc,key", "EXCHANGING": CLIENT_SECRET}
        installation = Installation(folder, provider, provider_url, environ)
        async with serving(tracker) as url:
            yield Company(issuer, Exchange(issuer, time.time), tracker, url, installation)

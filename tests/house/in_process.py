"""The bridge behind our own server, in this process, in front of a provider: real sockets, records in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aibridge import Actor, Identity, MemoryRecorder, Problem, Refused, RequestBridge, providers
from aibridge.errors import Header
from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from aibridge.server.http.serving import HttpServer, running
from aibridge.server.http.sockets import bind
from aibridge.upstream import HttpUpstream

KEYS = {"key-of-ada": Actor(id="ada", username="ada"), "key-of-bob": Actor(id="bob", username="bob")}
ADA, BOB = KEYS
CENTRAL_KEY = "sk-central-key-of-this-house-0123456789"


class Keyring:
    """An `Authenticator` of two keys, in either header; with X-AIBridge-Token the others are the user's own."""

    async def authenticate(self, scope: Mapping[str, Any]) -> Identity:
        headers: Sequence[Header] = scope["headers"]
        tokens = [(name, value.removeprefix(b"Bearer ").decode("latin-1")) for name, value in headers]
        said = [token for name, token in tokens if name == b"x-aibridge-token"]
        either = [token for name, token in tokens if name in (b"authorization", b"x-api-key")]
        actor = next((KEYS[token] for token in said or either if token in KEYS), None)
        if actor is None:
            headers = [(b"www-authenticate", b"Bearer"), (b"x-should-retry", b"false")]
            raise Refused(Problem(401, "the key is not known", headers=headers))
        gone = (b"x-aibridge-token",) if said else (b"x-aibridge-token", b"authorization", b"x-api-key")
        return Identity(actor, [pair for pair in headers if pair[0] not in gone], scope["query_string"])


@dataclass(frozen=True)
class InProcess:
    """`url` is the gateway's; the provider is simulated unless a test put another in its place."""

    url: str
    bridge: RequestBridge
    recorder: MemoryRecorder
    provider: SimulatedProvider


@asynccontextmanager
async def served(bridge: RequestBridge) -> AsyncIterator[str]:
    """The URL at which our own server has the bridge, in the block."""
    server = HttpServer(bridge, sockets=bind("127.0.0.1", 0), drain_timeout=5.0, on_deadline=bridge.abort)
    async with bridge, running(server):
        yield f"http://127.0.0.1:{server.port}"


@asynccontextmanager
async def bridge_before(url: str, provider: SimulatedProvider, **options: Any) -> AsyncIterator[InProcess]:
    """The gateway in front of the provider at `url`; `options` are the bridge's, `settings` those of its providers."""
    recorder = MemoryRecorder()
    settings: dict[str, Any] = {"key": CENTRAL_KEY, **options.pop("settings", {})}
    own = {name: value for name, value in settings.items() if name not in ("key", "keys", "allow_byok")}
    bridge = RequestBridge(
        providers=[
            providers.anthropic(base_url=url, **settings),
            providers.openai(base_url=f"{url}/v1", **settings),
            providers.copilot(base_url=url, **own),
        ],
        recorder=recorder,
        authenticator=Keyring(),
        upstream=options.pop("upstream", None) or HttpUpstream(),
        **options,
    )
    async with served(bridge) as own_url:
        try:
            yield InProcess(own_url, bridge, recorder, provider)
        finally:
            bridge.abort()


@asynccontextmanager
async def in_process(**options: Any) -> AsyncIterator[InProcess]:
    provider = SimulatedProvider()
    async with serve_simulator(provider) as url, bridge_before(url, provider, **options) as house:
        yield house

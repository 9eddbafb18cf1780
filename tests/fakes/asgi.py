"""A server around an ASGI application, with nothing of a server in it: one call is one request."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from aibridge.actor import Actor, set_actor
from aibridge.errors import Header
from tests.fakes.client import Client
from tests.fakes.interceptions import ADA
from tests.fakes.journal import Journal
from tests.waiting import BOUND

Scope: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass
class Call:
    """A request under way: `client` gets the answer, `hang_up` ends the connection."""

    client: Client
    task: "asyncio.Task[None]"
    more: "asyncio.Queue[dict[str, Any]]"

    def hang_up(self) -> None:
        self.more.put_nowait({"type": "http.disconnect"})

    def upload(self, data: bytes, *, more: bool = True) -> None:
        self.more.put_nowait({"type": "http.request", "body": data, "more_body": more})

    async def done(self) -> Client:
        async with asyncio.timeout(BOUND):
            await self.task
        return self.client


def scope_of(
    path: str,
    method: str = "POST",
    *,
    headers: Sequence[Header] = (),
    query: bytes = b"",
    root_path: str = "",
    actor: Actor | None = ADA,
    **more: Any,
) -> Scope:
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": root_path,
        "headers": list(headers),
        "client": ("127.0.0.1", 54321),
        "server": ("127.0.0.1", 80),
        **more,
    }
    if actor is not None:
        set_actor(scope, actor)
    return scope


def call(app: App, scope: Scope, *chunks: bytes, whole: bool = True) -> Call:
    """Begins a request. `whole`: its body ends with the last chunk; else `upload` goes on."""
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    pieces = chunks or (b"",)
    for number, chunk in enumerate(pieces):
        last = whole and number == len(pieces) - 1
        queue.put_nowait({"type": "http.request", "body": chunk, "more_body": not last})
    client = Client(Journal())

    async def receive() -> dict[str, Any]:
        return await queue.get()

    async def run() -> None:
        await app(scope, receive, client.send)

    return Call(client, asyncio.get_running_loop().create_task(run()), queue)


async def asked(app: App, path: str, body: bytes = b"", method: str = "POST", **options: Any) -> Client:
    """A whole request and its answer."""
    return await call(app, scope_of(path, method, **options), body).done()

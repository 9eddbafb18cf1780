"""Mounted in somebody else's application: a FastAPI host that authenticates and says who asks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI, Request, Response

from aibridge import Actor, MemoryRecorder, RequestBridge, providers, set_actor
from tests.exchanges import EXCHANGES, MESSAGES, Exchange
from tests.fakes.asgi import App, asked, call, scope_of
from tests.fakes.house import problem
from tests.fakes.interceptions import KEY
from tests.fakes.journal import Journal
from tests.fakes.upstream import Scripted, ScriptedUpstream

pytestmark = pytest.mark.anyio

PATH = "/api/v2/aibridge"
TOKEN = [(b"authorization", b"Bearer token-of-ada")]


class Host:
    """What a host's authors write: a lifespan, a mount, and a middleware that knows the users."""

    def __init__(self, *, middleware: str) -> None:
        self.upstream = ScriptedUpstream(Journal())
        self.recorder = MemoryRecorder()
        self.bridge = RequestBridge(
            providers=[
                providers.anthropic(base_url="http://anthropic.test", key=KEY),
                providers.openai(base_url="http://openai.test/v1", key=KEY),
            ],
            recorder=self.recorder,
            upstream=self.upstream,
        )

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            async with self.bridge:
                yield

        self.app = FastAPI(lifespan=lifespan)
        self.app.mount(PATH, self.bridge)
        self.app.get("/hello")(lambda: "hello")
        if middleware == "of functions":
            self.app.middleware("http")(_sign_in)
        else:
            self.app.add_middleware(_SignIn)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[App]:
        async with self.app.router.lifespan_context(self.app):
            yield self.app


def _take_token(request: Request) -> None:
    """The host's own token is known, and taken out so that it goes no further."""
    if request.headers.get("authorization") == "Bearer token-of-ada":
        set_actor(request.scope, Actor(id="ada", username="Ada"))
        request.scope["headers"] = [pair for pair in request.scope["headers"] if pair[0] != b"authorization"]


async def _sign_in(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    _take_token(request)
    return await call_next(request)


class _SignIn:
    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, object], receive: object, send: object) -> None:
        if scope["type"] == "http":
            _take_token(Request(scope))
        await self._app(scope, receive, send)


@pytest.fixture(params=["of classes", "of functions"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host(middleware=request.param)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
async def test_a_host_that_says_who_asks_has_its_users_on_record(host: Host, exchange: Exchange) -> None:
    async with host.running() as app:
        host.upstream.answers.append(Scripted(exchange.events))
        path = f"{PATH}/{exchange.provider}{exchange.path}"
        client = await asked(app, path, exchange.asked(stream=True), headers=TOKEN, actor=None)

        assert client.body == exchange.stream
        [started], [ended] = host.recorder.interceptions, host.recorder.ends
        assert (started.initiator_id, started.metadata) == ("ada", {"username": "Ada"})
        assert ended.state == "completed"
        [sent] = host.upstream.requests
        assert b"token-of-ada" not in repr(sent).encode()


async def test_whom_the_host_does_not_know_the_bridge_does_not_serve(host: Host) -> None:
    async with host.running() as app:
        client = await asked(app, f"{PATH}/anthropic/v1/messages", MESSAGES.asked(stream=True), actor=None)

        assert (client.status, problem(client)) == (401, "nobody is signed in")
        assert host.upstream.requests == []


async def test_before_the_hosts_lifespan_the_bridge_says_that_it_is_not_started(host: Host) -> None:
    path = f"{PATH}/anthropic/v1/messages"
    client = await asked(host.app, path, MESSAGES.asked(stream=True), headers=TOKEN, actor=None)

    assert (client.status, problem(client)) == (503, "the gateway is not started")


async def test_the_hosts_own_pages_are_its_own(host: Host) -> None:
    async with host.running() as app:
        assert (await asked(app, "/hello", method="GET", actor=None)).body == b'"hello"'
        assert (await asked(app, "/elsewhere", method="GET", actor=None)).status == 404
        client = await asked(app, f"{PATH}/elsewhere", headers=TOKEN, actor=None)
        assert problem(client) == "route not supported: POST /elsewhere"


@pytest.mark.parametrize("path", ["%2e%2e/admin", "anthropic/v1/%2e%2e/messages", "anthropic/v1//messages"])
async def test_the_gate_stands_below_a_mount_too(host: Host, path: str) -> None:
    async with host.running() as app:
        scope = scope_of(f"{PATH}/{path.replace('%2e', '.')}", headers=TOKEN, actor=None)
        scope["raw_path"] = f"{PATH}/{path}".encode()
        client = await call(app, scope, b"{}").done()

        assert client.status == 400
        assert host.upstream.requests == []


async def test_a_client_of_a_host_that_hangs_up_cancels_the_provider(host: Host) -> None:
    async with host.running() as app:
        host.upstream.answers.append(Scripted((*MESSAGES.events[:3], asyncio.Event())))
        scope = scope_of(f"{PATH}/anthropic/v1/messages", headers=TOKEN, actor=None)
        running = call(app, scope, MESSAGES.asked(stream=True))
        await running.client.until(len(b"".join(MESSAGES.events[:3])))
        running.hang_up()
        await asyncio.wait([running.task], timeout=2)

        assert running.task.done()
        [ended] = host.recorder.ends
        assert ended.state == "client_gone"
        assert host.upstream.running == 0

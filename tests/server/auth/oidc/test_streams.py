"""Open streams end with the token that let them in, or with its owner's suspension; those of other people run on."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aibridge import MemoryRecorder, RequestBridge
from aibridge.providers import anthropic
from aibridge.server.demo.simulator import ScriptedAnswer, SimulatedProvider, serve_simulator
from aibridge.server.http.serving import HttpServer, running
from aibridge.server.http.sockets import bind
from aibridge.server.watching import end_what_dead_keys_opened
from tests.durable import BOUND
from tests.server.auth.oidc.test_sign_in import Desk, made
from tests.server.test_serving import BEGINNING, REST
from tests.server.test_watching import client, stream

pytestmark = pytest.mark.anyio


def suspended(desk: Desk) -> None:
    desk.people.suspend("ada")


def ended(desk: Desk) -> None:
    desk.clock.advance(100)


@pytest.mark.parametrize(
    ("dies", "told"), [(suspended, b"your account is suspended"), (ended, b"your token has expired")]
)
async def test_a_stream_ends_with_the_token_that_let_it_in(
    tmp_path: Path, dies: Callable[[Desk], None], told: bytes
) -> None:
    recorder, provider, held = MemoryRecorder(), SimulatedProvider(), asyncio.Event()
    provider.script(ScriptedAnswer(steps=[BEGINNING, held, REST], times=None))
    async with made(tmp_path) as desk, serve_simulator(provider) as url:
        bridge = RequestBridge(
            providers=[anthropic(base_url=url, key="central-key")], recorder=recorder, authenticator=desk.authenticator
        )
        app: Any = bridge
        async with bridge, running(HttpServer(app, sockets=bind("127.0.0.1", 0))) as server, client(server) as asking:
            watching = asyncio.create_task(end_what_dead_keys_opened(bridge, desk.authenticator, every=0.01))
            tokens = desk.token(life=60), desk.token("sub-bob")
            async with stream(asking, tokens[0]) as one, stream(asking, tokens[1]) as other:
                chunks, others = one.aiter_raw(), other.aiter_raw()
                began = [await anext(chunks), await anext(others)]
                dies(desk)
                async with asyncio.timeout(BOUND):
                    rest = b"".join([chunk async for chunk in chunks])
                held.set()
                async with asyncio.timeout(BOUND):
                    his_rest = b"".join([chunk async for chunk in others])
            watching.cancel()

    assert began == [BEGINNING, BEGINNING]
    assert rest.startswith(b"event: error\n")
    assert told in rest
    assert his_rest == REST
    assert sorted(end.state for end in recorder.ends) == ["completed", "gateway_aborted"]

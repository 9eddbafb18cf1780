"""Open streams end when the key that let them in dies, or its owner is suspended; those of other keys run on."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aibridge import MemoryRecorder, RequestBridge
from aibridge.clock import new_id
from aibridge.providers import anthropic
from aibridge.server.auth.authenticator import GatewayAuthenticator
from aibridge.server.auth.bad_tokens import BadTokens
from aibridge.server.demo.simulator import ScriptedAnswer, SimulatedProvider, serve_simulator
from aibridge.server.http.serving import HttpServer, running
from aibridge.server.http.sockets import bind
from aibridge.server.people import People
from aibridge.server.watching import EVERY, end_what_dead_keys_opened
from tests.durable import BOUND, SetClock, database
from tests.server.installation import messages
from tests.server.test_serving import BEGINNING, REST

pytestmark = pytest.mark.anyio


def revoked(people: People, clock: SetClock, key_id: str) -> None:
    people.revoke_key(key_id)


def suspended(people: People, clock: SetClock, key_id: str) -> None:
    people.suspend("alice")


def expired(people: People, clock: SetClock, key_id: str) -> None:
    clock.advance(3601)


def deleted(people: People, clock: SetClock, key_id: str) -> None:
    with people._file.writing() as connection:
        connection.execute("DELETE FROM aibridge_keys WHERE id = ?", (key_id,))
    clock.advance(1)  # nobody moved the mark of changes: then a look-up is good for a second


def test_the_look_is_often_enough() -> None:
    assert EVERY < 60


@pytest.mark.parametrize(
    ("dies", "told"),
    [
        (revoked, b"your aibridge key has been revoked"),
        (suspended, b"your account is suspended"),
        (expired, b"your aibridge key has expired"),
        (deleted, b"this is no key of this gateway"),
    ],
)
async def test_a_stream_ends_with_the_key_that_let_it_in_and_says_so(
    tmp_path: Path, dies: Callable[[People, SetClock, str], None], told: bytes
) -> None:
    clock = SetClock()
    with closing(People(database(tmp_path), hash_key=bytes(32), clock=clock, ids=new_id)) as people:
        alice, bob = [people.create_user(name).id for name in ("alice", "bob")]
        hers = people.create_key(alice, name="hers", life=timedelta(hours=1))
        his = people.create_key(bob, name="his")
        authenticator = GatewayAuthenticator(people, BadTokens(), clock)
        rest = await rest_of_the_one_that_dies(
            authenticator, hers.secret, his.secret, lambda: dies(people, clock, hers.key.id)
        )

    assert rest.startswith(b"event: error\n")
    assert told in rest
    assert b"authentication_error" in rest


async def rest_of_the_one_that_dies(
    authenticator: GatewayAuthenticator, dying: str, living: str, dies: Callable[[], None]
) -> bytes:
    """Opens a stream with each credential and has the first die; what its client still gets. The other one runs on."""
    recorder, provider, held = MemoryRecorder(), SimulatedProvider(), asyncio.Event()
    provider.script(ScriptedAnswer(steps=[BEGINNING, held, REST], times=None))
    async with serve_simulator(provider) as url:
        bridge = RequestBridge(
            providers=[anthropic(base_url=url, key="central-key")], recorder=recorder, authenticator=authenticator
        )
        app: Any = bridge
        async with bridge, running(HttpServer(app, sockets=bind("127.0.0.1", 0))) as server, client(server) as ask:
            watching = asyncio.create_task(end_what_dead_keys_opened(bridge, authenticator, every=0.01))
            async with stream(ask, dying) as one, stream(ask, living) as other:
                chunks, others = one.aiter_raw(), other.aiter_raw()
                began = [await anext(chunks), await anext(others)]
                dies()
                async with asyncio.timeout(BOUND):
                    rest = b"".join([chunk async for chunk in chunks])
                held.set()
                async with asyncio.timeout(BOUND):
                    rest_of_the_other = b"".join([chunk async for chunk in others])
            watching.cancel()

    assert began == [BEGINNING, BEGINNING]
    assert rest_of_the_other == REST
    assert sorted(end.state for end in recorder.ends) == ["completed", "gateway_aborted"]
    return rest


def client(server: HttpServer) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=BOUND, trust_env=False)


def stream(ask: httpx2.AsyncClient, key: str) -> Any:
    return ask.stream(
        "POST", "/anthropic/v1/messages", json=messages(stream=True), headers={"authorization": f"Bearer {key}"}
    )

"""`aibridge serve` from outside: what scripts and load balancers see, from the first start to the last byte."""

import asyncio
import fcntl
import os
import re
import signal
import sqlite3
import stat
import sys
import termios
from contextlib import closing
from functools import partial

import pytest

from aibridge.server.demo.simulator import ScriptedAnswer
from tests.durable import until
from tests.server.installation import BOUND, CENTRAL_KEY, Installation, messages

pytestmark = pytest.mark.anyio


async def test_a_key_made_before_the_first_start_opens_every_dialect_and_all_is_on_record_under_its_owner(
    installation: Installation,
) -> None:
    config = ("--config", str(installation.configure("[metrics]\nport = 0\n")))
    user = (await installation.run("users", "create", "alice", "--email", "a@example.org", *config, "--json")).json()
    made = (await installation.run("keys", "create", "--user", "alice", "--name", "n", *config, "--json")).json()
    async with installation.serving() as server, server.client(made["key"]) as client:
        answers = [
            await client.post("/anthropic/v1/messages", json=messages("one")),
            await client.post("/api/v2/aibridge/anthropic/v1/messages", json=messages("two", stream=True)),
            await client.post(
                "/openai/v1/chat/completions", json={"model": "gpt-4.1", "messages": [{"role": "user", "content": "3"}]}
            ),
            await client.post("/api/v2/ai-gateway/openai/v1/responses", json={"model": "gpt-4.1", "input": "four"}),
        ]
        server.signal()
        status = await server.ended()
    listed = (await installation.run("interceptions", "list", *config, "--json")).json()

    assert re.fullmatch(r"aib_[A-Za-z0-9_-]+", made["key"])
    assert {"id", "username"} <= user.keys()
    assert [answer.status_code for answer in answers] == [200] * 4
    assert status == 0
    assert [exchange.header("x-api-key") for exchange in installation.provider.ledger[:2]] == [CENTRAL_KEY] * 2
    assert all(made["key"].encode() not in b"".join(map(b": ".join, e.headers)) for e in installation.provider.ledger)
    assert listed["count"] == 4
    assert {found["initiator"]["id"] for found in listed["results"]} == {user["id"]}
    assert [found["user_prompts"][0]["prompt"] for found in listed["results"]] == ["four", "3", "two", "one"]
    assert {found["id"] for found in listed["results"]} == {
        answer.headers["x-aibridge-interception-id"] for answer in answers
    }


async def test_a_key_without_a_user_belongs_to_admin_and_works_while_the_server_runs(
    installation: Installation,
) -> None:
    installation.environ["AIBRIDGE_CONFIG"] = str(installation.configure())
    async with installation.started("serve", "--port", "0") as server:
        made = await installation.run("keys", "create", "--name", "bench")
        async with server.client(made.out.strip()) as client:
            answer = await client.post("/anthropic/v1/messages", json=messages())
    users = (await installation.run("users", "list", "--json")).json()

    assert answer.status_code == 200
    assert [(user["username"], user["role"]) for user in users] == [("admin", "admin")]


async def test_probes_and_unknown_paths_are_answered_and_nobody_needs_a_key_for_them(
    installation: Installation,
) -> None:
    installation.configure()
    async with installation.serving() as server, server.client() as client:
        probes = [(await client.head(path)).status_code for path in ("/", "/anthropic", "/openai", "/api/v2/aibridge")]
        health = await client.get("/healthz")
        ready = await client.get("/readyz")
        document = await client.get("/openapi.json")
        wrong = [(await client.get(path)).status_code for path in ("/nowhere", "/metrics", "/api/v2/aibridge/sessions")]
        posted = await client.post("/healthz")

    assert probes == [200] * 4
    assert (health.status_code, health.json()["status"]) == (200, "ok")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert document.json()["openapi"] == "3.1.0"
    assert wrong == [404] * 3
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD")


async def test_a_refusal_has_the_shape_of_the_dialect_and_tells_clients_not_to_try_again(
    installation: Installation,
) -> None:
    installation.configure()
    async with installation.serving() as server, server.client("sk-of-the-user") as client:
        anthropic = await client.post("/anthropic/v1/messages", json=messages())
        openai = await client.post("/openai/v1/responses", json={"model": "m", "input": "hi"})
        api = await client.get("/api/v2/aibridge/interceptions")

    assert {anthropic.status_code, openai.status_code, api.status_code} == {401}
    assert anthropic.json()["error"]["type"] == "authentication_error"
    assert "this is no key of this gateway" in openai.json()["error"]["message"]
    assert api.headers["content-type"] == "application/problem+json"
    for answer in (anthropic, openai, api):
        assert answer.headers["www-authenticate"] == 'Bearer realm="aibridge"'
        assert answer.headers["x-should-retry"] == "false"
    assert installation.provider.ledger == []


async def test_what_a_command_revokes_or_suspends_holds_at_the_very_next_request(installation: Installation) -> None:
    config = ("--config", str(installation.configure()))
    await installation.run("users", "create", "alice", *config)
    made = (await installation.run("keys", "create", "--user", "alice", *config, "--json")).json()
    other = await installation.key("alice")
    statuses = []
    async with installation.serving() as server, server.client(made["key"]) as client:
        statuses.append((await client.post("/anthropic/v1/messages", json=messages())).status_code)
        await installation.run("keys", "revoke", made["id"], *config)
        statuses.append((await client.post("/anthropic/v1/messages", json=messages())).status_code)
        client.headers["authorization"] = f"Bearer {other}"
        statuses.append((await client.post("/anthropic/v1/messages", json=messages())).status_code)
        await installation.run("users", "suspend", "alice", *config)
        statuses.append((await client.post("/anthropic/v1/messages", json=messages())).status_code)
        await installation.run("users", "activate", "alice", *config)
        statuses.append((await client.post("/anthropic/v1/messages", json=messages())).status_code)

    assert statuses == [200, 401, 200, 401, 200]


async def test_while_draining_streams_run_on_and_everything_new_is_refused(installation: Installation) -> None:
    installation.configure()
    key = await installation.key()
    held = asyncio.Event()
    installation.provider.script(ScriptedAnswer(steps=[BEGINNING, held, REST]))
    async with installation.serving() as server, server.client(key) as client, server.client(key) as late:
        async with client.stream("POST", "/anthropic/v1/messages", json=messages(stream=True)) as streaming:
            chunks = streaming.aiter_raw()
            first = await anext(chunks)
            await late.get("/healthz")
            server.signal()
            ready = await _until_draining(late)
            refused = await late.post("/anthropic/v1/messages", json=messages())
            held.set()
            rest = b"".join([chunk async for chunk in chunks])
        status = await server.ended()

    assert ready == {"status": "not ready", "reasons": ["draining"]}
    assert refused.status_code == 503
    assert refused.json()["error"]["message"] == "the gateway is shutting down"
    assert first + rest == BEGINNING + REST
    assert status == 0
    assert [line["ending"] for line in installation.log() if line["event"] == "stopped"] == ["drained"]


async def test_at_the_end_of_the_drain_time_streams_end_with_an_error_of_their_dialect(
    installation: Installation,
) -> None:
    config = ("--config", str(installation.configure()))
    key = await installation.key()
    held = asyncio.Event()
    installation.provider.script(ScriptedAnswer(steps=[BEGINNING, held]))
    installation.environ["AIBRIDGE_SERVER__DRAIN_TIMEOUT"] = "100ms"
    async with installation.serving() as server, server.client(key) as client:
        async with client.stream("POST", "/anthropic/v1/messages", json=messages(stream=True)) as streaming:
            chunks = streaming.aiter_raw()
            await anext(chunks)
            server.signal()
            rest = b"".join([chunk async for chunk in chunks])
        status = await server.ended()
    held.set()
    [found] = (await installation.run("interceptions", "list", *config, "--json")).json()["results"]

    assert rest.startswith(b"event: error\n")
    assert status == 0
    assert found["state"] == "gateway_aborted"


async def test_a_second_signal_ends_the_server_at_once(installation: Installation) -> None:
    installation.configure()
    key = await installation.key()
    held = asyncio.Event()
    installation.provider.script(ScriptedAnswer(steps=[BEGINNING, held]))
    async with (
        installation.serving() as server,
        server.client() as late,
        server.client(key) as client,
        client.stream("POST", "/anthropic/v1/messages", json=messages(stream=True)) as streaming,
    ):
        chunks = streaming.aiter_raw()  # held: once it is collected, the client hangs up
        await anext(chunks)
        await late.get("/healthz")
        server.signal(signal.SIGINT)
        await _until_draining(late)
        server.signal(signal.SIGINT)
        await server.ended()
    held.set()

    assert [line["ending"] for line in installation.log() if line["event"] == "stopped"] == ["forced"]


async def test_a_signal_to_every_process_at_once_drains_workers_like_one_to_their_supervisor(
    installation: Installation,
) -> None:
    """As systemd does it: a worker hears twice of it, and its streams run on all the same."""
    installation.configure()
    key = await installation.key()
    held = asyncio.Event()
    installation.provider.script(ScriptedAnswer(steps=[BEGINNING, held, REST]))
    async with (
        installation.serving("--workers", "2") as server,
        server.client(key) as client,
        client.stream("POST", "/anthropic/v1/messages", json=messages(stream=True)) as streaming,
    ):
        chunks = streaming.aiter_raw()
        first = await anext(chunks)
        await _logged(installation, "serving", 2)  # until then a worker has nothing to drain
        os.kill(_serving_process(installation), signal.SIGTERM)
        await _logged(installation, "draining")
        server.signal()
        await _logged(installation, "stopped")  # the other worker: the supervisor has told both
        held.set()
        rest = b"".join([chunk async for chunk in chunks])
        status = await server.ended()

    assert first + rest == BEGINNING + REST
    assert status == 0
    assert [line["ending"] for line in installation.log() if line["event"] == "stopped"] == ["drained", "drained"]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_signal_ends_workers_too(installation: Installation, workers: str) -> None:
    installation.configure()
    key = await installation.key()
    held = asyncio.Event()
    installation.provider.script(ScriptedAnswer(steps=[BEGINNING, held]))
    async with (
        installation.serving("--workers", workers) as server,
        server.client(key) as client,
        client.stream("POST", "/anthropic/v1/messages", json=messages(stream=True)) as streaming,
    ):
        chunks = streaming.aiter_raw()  # held: once it is collected, the client hangs up
        await anext(chunks)
        await _logged(installation, "serving", int(workers))
        server.signal()
        await _logged(installation, "draining", int(workers))
        server.signal()
        await server.ended()
    held.set()

    assert "forced" in [line["ending"] for line in installation.log() if line["event"] == "stopped"]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_closed_terminal_ends_the_server_in_good_order(installation: Installation, workers: str) -> None:
    installation.configure()
    ours, theirs = os.openpty()
    terminal = {"start_new_session": True, "preexec_fn": partial(fcntl.ioctl, theirs, termios.TIOCSCTTY, 0)}
    async with installation.serving("--workers", workers, process=terminal) as server:
        os.close(theirs)
        os.close(ours)
        status = await server.ended()

    assert status == 0
    endings = [line["ending"] for line in installation.log() if line["event"] == "stopped"]
    assert set(endings) == {"drained"}  # a worker that still starts has nothing to drain


async def test_a_server_that_would_be_its_own_provider_does_not_start(installation: Installation) -> None:
    installation.environ["ANTHROPIC_BASE_URL"] = "http://localhost:8799/anthropic"

    ran = await installation.run("serve", "--port", "8799")

    assert ran.status == 1
    assert ran.err == (
        "aibridge: ANTHROPIC_BASE_URL: providers[0].base_url: is the address of this server itself, not a provider's\n"
    )


async def test_a_port_that_is_taken_is_said_in_one_line(installation: Installation) -> None:
    installation.configure()
    async with installation.serving() as server:
        port = server.url.rpartition(":")[2]
        ran = await installation.run("serve", "--config", str(installation.file), "--port", port)

    assert (ran.status, ran.out) == (1, "")
    assert ran.err == f"aibridge: cannot listen on 127.0.0.1:{port}: Address already in use\n"


async def test_several_workers_share_the_port_the_database_and_the_keys(installation: Installation) -> None:
    config = ("--config", str(installation.configure()))
    key = await installation.key()
    async with installation.serving("--workers", "2") as server:

        async def ask() -> int:
            async with server.client(key) as client:
                return (await client.post("/anthropic/v1/messages", json=messages())).status_code

        statuses = await asyncio.gather(*(ask() for _ in range(20)))
        server.signal()
        status = await server.ended()
    listed = (await installation.run("interceptions", "list", *config, "--json")).json()

    assert statuses == [200] * 20
    assert status == 0
    assert (listed["count"], {found["state"] for found in listed["results"]}) == (20, {"completed"})


async def test_without_any_configuration_it_serves_and_says_where_the_admin_key_is(installation: Installation) -> None:
    del installation.environ["OPENAI_API_KEY"]
    installation.environ["ANTHROPIC_BASE_URL"] = installation.provider_url
    data = installation.folder / "home" / ".local" / "share" / "aibridge"
    async with installation.started("serve", "--port", "0") as server:
        key = (data / "admin.key").read_text().strip()
        async with server.client(key) as client:
            answer = await client.post("/anthropic/v1/messages", json=messages())
            listed = await client.get("/api/v2/aibridge/interceptions")

    assert answer.status_code == 200
    assert listed.json()["count"] == 1
    assert str(data / "admin.key") in server.banner
    assert "make one with: aibridge keys create" in server.banner
    assert "aib_" not in server.banner
    assert "openai: no key, callers bring their own" in server.banner
    assert [stat.S_IMODE((data / name).stat().st_mode) for name in ("admin.key", "server.secret")] == [0o600] * 2
    assert not (data / "use.key").exists()


async def test_on_a_terminal_the_same_key_to_paste_is_shown_at_every_start(installation: Installation) -> None:
    installation.environ["ANTHROPIC_BASE_URL"] = installation.provider_url

    first, second = [await _said_on_a_terminal(installation) for _ in range(2)]

    [key] = set(re.findall(r"aib_\w+", first))
    assert f"export ANTHROPIC_AUTH_TOKEN={key}" in first
    assert f"export OPENAI_API_KEY={key}" in first
    assert key in second
    listed = (await installation.run("keys", "list", "--json")).json()
    assert sorted(tuple(found["scopes"]) for found in listed) == [
        ("use", "read:own"),
        ("use", "read:own", "read:all", "admin"),
    ]


async def test_nothing_that_is_written_anywhere_holds_a_secret(installation: Installation) -> None:
    config = ("--config", str(installation.configure()))
    key = await installation.key()
    installation.provider.script(ScriptedAnswer(status=500, steps=[f"no such key: {CENTRAL_KEY} {key}".encode()]))
    async with installation.serving() as server, server.client(key) as client:
        echoed = await client.post("/anthropic/v1/messages", json=messages("the-prompt"), headers={"x-odd": key})
        await client.post(f"/anthropic/v1/messages?key={key}", json=messages("the-prompt"))
        refused = await client.get(f"/api/v2/aibridge/interceptions/{key[4:]}?q={key}")
        server.signal()
        await server.ended()
    listed = await installation.run("interceptions", "list", *config, "--json")

    written = (installation.folder / "log").read_text() + server.banner
    assert "the-prompt" not in written
    for secret in (CENTRAL_KEY, key, (installation.folder / "server.secret").read_text().strip()):
        assert secret not in written
        assert secret not in listed.out
        assert all(secret.encode() not in found.body + found.query.encode() for found in installation.provider.ledger)
    assert CENTRAL_KEY not in echoed.text
    assert key not in refused.text
    assert all(key.encode() not in value for found in installation.provider.ledger for _, value in found.headers)


def _serving_process(installation: Installation) -> int:
    """The process that has the one interception."""
    with closing(sqlite3.connect(installation.folder / "aibridge.db")) as connection:
        [(pid,)] = connection.execute(
            "SELECT b.pid FROM aibridge_interceptions AS i JOIN aibridge_boots AS b ON b.id = i.boot_id"
        )
    return int(pid)


async def _logged(installation: Installation, event: str, times: int = 1) -> None:
    log = installation.folder / "log"
    await until(lambda: log.read_text().count(f'"event": "{event}"') >= times)


async def _until_draining(client: object) -> object:
    """What /readyz says once it is not ready; every look is a request, so the wait is not a sleep."""
    async with asyncio.timeout(BOUND):
        while True:
            answer = await client.get("/readyz")  # type: ignore[attr-defined]  # httpx2's client
            if answer.status_code == 503:
                return answer.json()


async def _said_on_a_terminal(installation: Installation) -> str:
    """What a server that is started in a terminal says; it is told to stop once it has said it."""
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aibridge", "serve", "--port", "0"),
        stdout=theirs,
        stderr=theirs,
        env=installation.environ,
    )
    os.close(theirs)
    said = b""
    try:
        async with asyncio.timeout(BOUND):
            while b"OPENAI_API_KEY" not in said:
                said += await asyncio.to_thread(os.read, ours, 4096)
            process.terminate()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
    return said.decode()


BEGINNING = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    b'"model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
)
REST = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":2}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
)

"""The configuration of a running server is exchanged: by SIGHUP, by its files, with one worker and with several."""

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from aibridge.server.demo.simulator import ScriptedAnswer
from tests.server.installation import BOUND, CENTRAL_KEY, Installation, Running, messages
from tests.server.test_serving import BEGINNING, REST

pytestmark = pytest.mark.anyio

NEW_KEY = "another-key-of-the-organisation"
READ = "the configuration was read again"
HOLDS_ON = "the configuration cannot be used: the one before holds on"


async def line(installation: Installation, event: str, count: int = 1) -> dict[str, Any]:
    """The line of the log with this event, once there are so many of them."""
    async with asyncio.timeout(BOUND):
        while True:
            try:
                found = [line for line in installation.log() if line["event"] == event]
            except ValueError:  # half of a line
                found = []
            if len(found) >= count:
                return found[count - 1]
            await asyncio.sleep(0.02)


async def reloaded(installation: Installation, server: Running, count: int = 1) -> None:
    server.signal(signal.SIGHUP)
    await line(installation, READ, count)


async def providers(server: Running, key: str) -> dict[str, Any]:
    async with server.client(key) as client:
        answer: dict[str, Any] = (await client.get("/api/v2/aibridge/providers")).json()
    return answer


async def test_a_key_in_a_file_is_rotated_without_anybody_sending_a_signal(installation: Installation) -> None:
    secret = installation.folder / "provider.key"
    secret.write_text(CENTRAL_KEY)
    file = installation.configure()
    file.write_text(file.read_text().replace("env:ANTHROPIC_API_KEY", "file:provider.key"))
    key = await installation.key()
    async with installation.serving() as server, server.client(key) as client:
        await client.post("/anthropic/v1/messages", json=messages())
        secret.write_text(NEW_KEY)
        await line(installation, READ)
        answer = await client.post("/anthropic/v1/messages", json=messages())

    assert answer.status_code == 200
    assert [exchange.header("x-api-key") for exchange in installation.provider.ledger] == [CENTRAL_KEY, NEW_KEY]
    assert NEW_KEY not in (installation.folder / "log").read_text()


async def test_a_bad_file_changes_nothing_is_said_in_one_line_and_told_by_the_api(installation: Installation) -> None:
    file = installation.configure()
    good = file.read_text()
    admin = await installation.key(None, "--scope", "admin", "--scope", "use")
    async with installation.serving() as server, server.client(admin) as client:
        file.write_text(good + "\n[serverr]\n")
        said = await line(installation, HOLDS_ON)
        ready = await client.get("/readyz")
        answer = await client.post("/anthropic/v1/messages", json=messages())
        told = (await providers(server, admin))["configuration"]
        checked = await installation.run("config", "check", "--config", str(file))
        file.write_text(good)
        await line(installation, READ)
        mended = (await providers(server, admin))["configuration"]

    assert said["why"] == f"{file}: serverr: unknown key; did you mean server?"
    assert said["level"] == "error"
    assert [line["event"] for line in installation.log()].count(HOLDS_ON) == 1
    assert (ready.status_code, answer.status_code) == (200, 200)
    assert told["fault"] == said["why"]
    assert told["failed_at"] > told["loaded_at"]
    assert checked.status == 1
    assert mended["fault"] is None
    assert mended["loaded_at"] > told["failed_at"]


async def test_a_secret_that_comes_after_the_file_that_names_it_is_taken(installation: Installation) -> None:
    file = installation.configure()
    key = await installation.key()
    async with installation.serving() as server, server.client(key) as client:
        file.write_text(file.read_text().replace("env:ANTHROPIC_API_KEY", "file:late.key"))
        await line(installation, HOLDS_ON)
        (installation.folder / "late.key").write_text(NEW_KEY)
        await line(installation, READ)
        await client.post("/anthropic/v1/messages", json=messages())

    assert [exchange.header("x-api-key") for exchange in installation.provider.ledger] == [NEW_KEY]


@pytest.mark.parametrize("change", ["removed", "switched off"])
async def test_a_stream_goes_on_when_its_provider_is_taken_away(installation: Installation, change: str) -> None:
    file = installation.configure()
    key = await installation.key()
    held = asyncio.Event()
    installation.provider.script(ScriptedAnswer(steps=[BEGINNING, held, REST]))
    async with (
        installation.serving() as server,
        server.client(key) as client,
        client.stream("POST", "/anthropic/v1/messages", json=messages(stream=True)) as streaming,
    ):
        chunks = streaming.aiter_raw()
        first = await anext(chunks)
        text = file.read_text()
        table = text[text.index("[[providers]]") : text.rindex("[[providers]]")]
        without = "" if change == "removed" else table + "enabled = false\n"
        file.write_text(text.replace(table, without))
        await reloaded(installation, server)
        async with server.client(key) as late:
            refused = await late.post("/anthropic/v1/messages", json=messages())
        held.set()
        rest = b"".join([chunk async for chunk in chunks])

    assert first + rest == BEGINNING + REST
    assert refused.status_code == (404 if change == "removed" else 503)
    if change == "switched off":
        assert refused.json()["error"]["message"] == "provider anthropic is switched off"


async def test_settings_that_only_a_start_can_change_are_named(installation: Installation) -> None:
    file = installation.configure()
    admin = await installation.key(None, "--scope", "admin", "--scope", "use")
    async with installation.serving() as server:
        file.write_text(
            file.read_text().replace("[server]", "[server]\nworkers = 3\nmax_concurrency = 7")
            + "[recording]\nprompts = false\n[tracing]\nenabled = false\n"
        )
        await reloaded(installation, server)
        said = await line(installation, "settings that hold from the next start on")
        told = (await providers(server, admin))["configuration"]

    assert said["settings"] == ["recording.prompts", "server.workers"]
    assert told["needs_restart"] == said["settings"]


async def test_the_secret_of_the_server_is_not_changed_under_what_was_made_with_it(installation: Installation) -> None:
    secret = installation.folder / "secret"
    secret.write_text("a secret of more than twenty-two characters")
    file = installation.configure()
    file.write_text(file.read_text().replace("[server]", '[server]\nsecret = "file:secret"'))
    key = await installation.key()
    async with installation.serving() as server, server.client(key) as client:
        secret.write_text("another secret of more than twenty-two characters")
        server.signal(signal.SIGHUP)
        said = await line(installation, HOLDS_ON)
        answer = await client.post("/anthropic/v1/messages", json=messages())

    assert said["why"].endswith("server.secret: was changed, which only a restart can follow")
    assert answer.status_code == 200


async def test_every_worker_follows_and_the_log_says_it_once(installation: Installation) -> None:
    file = installation.configure("[metrics]\nport = 0\n")
    good = file.read_text()
    admin = await installation.key(None, "--scope", "admin", "--scope", "use")
    async with installation.serving("--workers", "2") as server:

        async def told() -> dict[int, Any]:
            """What the two workers say."""
            found: dict[int, Any] = {}
            async with asyncio.timeout(BOUND):
                while len(found) < 2:
                    answer = await providers(server, admin)
                    found[answer["process"]] = answer
            return found

        async def until_both(claim: Callable[[Any], bool]) -> dict[int, Any]:
            async with asyncio.timeout(BOUND):
                while not all(map(claim, (found := await told()).values())):
                    pass
            return found

        began = await told()
        file.write_text(good + "\n[[providers]]\ntype = 'openai'\nname = 'second'\n")
        await line(installation, READ)
        grown = await until_both(lambda answer: len(answer["results"]) == 3)
        file.write_text("nonsense")
        await line(installation, HOLDS_ON)
        faulty = await until_both(lambda answer: answer["configuration"]["fault"] is not None)
        page = await _metrics(server)

    assert set(began) == set(grown) == set(faulty)
    assert all(len(answer["results"]) == 3 for answer in faulty.values())
    events = [line["event"] for line in installation.log()]
    assert (events.count(READ), events.count(HOLDS_ON)) == (1, 1)
    assert 'aibridge_configuration_loads_total{result="ok"} 4.0' in page
    assert 'aibridge_configuration_loads_total{result="failed"} 2.0' in page


async def _metrics(server: Running) -> str:
    address = next(line.split()[-1] for line in server.banner.splitlines() if line.startswith("metrics"))
    async with httpx2.AsyncClient(trust_env=False) as client:
        return (await client.get(address)).text


async def test_mcp_servers_come_and_go(installation: Installation) -> None:
    file = installation.configure()
    without = file.read_text()
    admin = await installation.key(None, "--scope", "admin", "--scope", "use")
    table = '[[mcp_servers]]\nname = "wiki"\nurl = "http://127.0.0.1:9/mcp"\nallow_private = true\n'
    shown = []
    async with installation.serving() as server, server.client(admin) as client:
        for number, text in enumerate((without + table, without), 1):
            file.write_text(text)
            await reloaded(installation, server, number)
            listed = (await client.get("/api/v2/aibridge/mcp")).json()["results"]
            shown.append([found["name"] for found in listed])

    assert shown == [["wiki"], []]


async def test_the_first_server_where_people_log_in_brings_its_pages_along(installation: Installation) -> None:
    file = installation.configure()
    table = '[[mcp_servers]]\nname = "wiki"\nurl = "http://127.0.0.1:9/mcp"\nallow_private = true\nauth = "oauth"\n'
    page = "/api/v2/aibridge/mcp/wiki/login"
    async with installation.serving() as server, server.client() as client:
        before = await client.get(page)
        file.write_text(file.read_text() + table)
        await reloaded(installation, server)
        after = await client.get(page)

    assert (before.status_code, after.status_code) == (404, 200)
    assert "wiki" in after.text

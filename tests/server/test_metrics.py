"""What `aibridge serve` counts, against what it recorded: equal, after a mixed load with faults, kills and restarts."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest

from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from tests.promtool import promtool
from tests.scraping import at_rest, metrics_url, scrape
from tests.server.books import Books, agree, last_boot, recovered, workers_of
from tests.server.installation import BOUND, CENTRAL_KEY, Installation
from tests.server.mixed_load import USERS, Question, dialect_of, load

pytestmark = pytest.mark.anyio

PROMPTS = ("Say hello", "use a tool", "simulate 30 words", "two tools in parallel")
MODELS = ("model-a", "model-b", "simulate-error-429", "simulate-error-529", "simulate-cut", "simulate-error-401")
AGENTS = ("claude-cli/2.1 (external, cli)", "codex_cli_rs/0.60", "curl/8.0")


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    provider = SimulatedProvider(pace=0.0005)
    async with serve_simulator(provider) as provider_url:
        made = Installation(tmp_path, provider, provider_url)
        made.configure("[metrics]\nport = 0\n")
        yield made


def asked(chance: random.Random) -> Callable[[int], Question]:
    def question(number: int) -> Question:
        return Question(
            dialect_of(number),
            model=chance.choice(MODELS),
            prompt=chance.choice(PROMPTS),
            stream=number % 2 == 0,
            leaves=number % 10 == 4,
            headers={"user-agent": chance.choice(AGENTS)},
        )

    return question


@pytest.mark.parametrize("workers", [1, 2])
async def test_after_a_mixed_load_with_faults_the_metrics_are_the_sums_over_the_tables(
    installation: Installation, seed: int, workers: int
) -> None:
    key = await installation.key()
    async with installation.serving("--workers", str(workers)) as server:
        await load(server, key, 150, asked(random.Random(seed)))
        async with server.client(key) as client:
            await client.get("/openai/v1/models")
            await client.post("/anthropic/v1/messages", content=b"{")
            await client.post("/anthropic/v1/messages", headers={"authorization": "Bearer nobody"}, content=b"{}")
        found = await at_rest(server)
        server.signal()
        assert await server.ended() == 0

    books = Books(installation.folder / "aibridge.db")
    agree(found, books)
    kinds = found.by("upstream_errors_total", "kind")
    assert {("rate_limited",), ("overloaded",), ("broken_off",), ("unauthorized",)} == kinds.keys()
    assert books.state("client_gone") > 0
    assert min(books.tools().total(), books.tokens().total(), books.prompts().total()) > 0
    assert found.by("passthrough_total", "provider", "route", "method") == {("openai", "/v1/models", "GET"): 1}
    assert found.by("refused_requests_total", "route", "status") == {
        ("/v1/messages", "400"): 1,
        ("/v1/messages", "401"): 1,
    }


async def test_after_a_kill_counters_begin_at_zero_and_agree_with_what_was_recorded_since(
    installation: Installation, seed: int
) -> None:
    chance = random.Random(seed)
    key = await installation.key()
    async with installation.serving() as server:
        loading = asyncio.create_task(load(server, key, 400, asked(chance)))
        async with asyncio.timeout(BOUND):
            while (await scrape(server)).total("interceptions_total") < 20:
                pass
        server.signal(signal.SIGKILL)
        await loading
    database = installation.folder / "aibridge.db"
    async with installation.serving() as server:
        at_first = await scrape(server)
        await load(server, key, 40, asked(chance))
        found = await at_rest(server)

    assert at_first.total("interceptions_total") == at_first.total("tokens_total") == 0
    assert found.total("interceptions_total") > 0
    agree(found, Books(database, boot=last_boot(database)))
    assert found.total("recovered_interceptions_total") == recovered(database)


async def test_a_worker_that_is_killed_leaves_what_it_counted_and_nothing_in_flight(
    installation: Installation, seed: int
) -> None:
    key = await installation.key()
    database = installation.folder / "aibridge.db"
    totals: list[int] = []
    async with installation.serving("--workers", "2") as server:
        loading = asyncio.create_task(load(server, key, 300, asked(random.Random(seed))))
        async with asyncio.timeout(BOUND):
            while not totals or totals[-1] < 40:
                totals.append((await scrape(server)).total("interceptions_total"))
            os.kill(workers_of(database)[0], signal.SIGKILL)
            while not loading.done():
                totals.append((await scrape(server)).total("interceptions_total"))
        found = await at_rest(server)

    ended = Books(database).interceptions().total()
    assert totals == sorted(totals)
    # Between a commit and its count lies a turn of the loop; only what was then in flight can be missing.
    assert ended - USERS <= found.total("interceptions_total") <= ended
    assert found.total("recovered_interceptions_total") == recovered(database)


# -- the page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_page_is_valid_by_the_formats_of_prometheus_and_holds_no_secret(
    installation: Installation, seed: int, workers: int
) -> None:
    await installation.run("users", "create", "ada", "--email", "ada@example.org", "--config", str(installation.file))
    key = await installation.key("ada")
    async with installation.serving("--workers", str(workers)) as server:
        await load(server, key, 60, asked(random.Random(seed)))
        found = await at_rest(server)
        modern = await scrape(server, "application/openmetrics-text; version=1.0.0")
        async with httpx2.AsyncClient(timeout=BOUND, trust_env=False) as client:
            url = metrics_url(server)
            others = [
                (await client.get(url.removesuffix("/metrics"))).status_code,
                (await client.post(url)).status_code,
                (await client.head(url)).status_code,
            ]

    assert modern.text.endswith("# EOF\n")
    assert others == [404, 405, 200]
    for text in (found.text, modern.text):
        for secret in (key, CENTRAL_KEY, "Say hello", "use a tool", "ada", "example.org"):
            assert secret not in text
    assert await promtool("check", "metrics", given=found.text) == ""


async def test_without_a_port_nothing_is_counted_and_nothing_listens(installation: Installation) -> None:
    installation.configure()
    async with installation.serving() as server:
        assert "metrics " not in server.banner


async def test_a_port_that_is_taken_ends_the_start_with_one_line(installation: Installation) -> None:
    async with installation.serving() as server:
        port = metrics_url(server).rpartition(":")[2].removesuffix("/metrics")
        installation.environ["AIBRIDGE_METRICS__PORT"] = port
        second = await installation.run("serve", "--config", str(installation.file), "--port", "0")

    assert second.status == 1
    assert second.err == f"aibridge: cannot listen on 127.0.0.1:{port}: Address already in use\n"

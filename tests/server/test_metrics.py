"""What `aibridge serve` counts, against what it recorded: equal, after a mixed load with faults, kills and restarts."""

import asyncio
import itertools
import json
import os
import random
import re
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from tests.server.installation import BOUND, CENTRAL_KEY, Installation, Running

pytestmark = pytest.mark.anyio

Series: TypeAlias = Counter[tuple[str, ...]]

USERS = 8
PROMPTS = ("Say hello", "use a tool", "simulate 30 words", "two tools in parallel")
MODELS = ("model-a", "model-b", "simulate-error-429", "simulate-error-529", "simulate-cut", "simulate-error-401")
PATHS = {
    "messages": "/anthropic/v1/messages",
    "chat": "/openai/v1/chat/completions",
    "responses": "/openai/v1/responses",
}
AGENTS = ("claude-cli/2.1 (external, cli)", "codex_cli_rs/0.60", "curl/8.0")


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    provider = SimulatedProvider(pace=0.0005)
    async with serve_simulator(provider) as provider_url:
        made = Installation(tmp_path, provider, provider_url)
        made.configure("[metrics]\nport = 0\n")
        yield made


def asked(number: int, chance: random.Random) -> tuple[str, dict[str, Any]]:
    """A path, and the body of a request."""
    dialect = ("messages", "chat", "responses")[number % 3]
    prompt, schema = chance.choice(PROMPTS), {"type": "object", "properties": {"path": {"type": "string"}}}
    body: dict[str, Any] = {"model": chance.choice(MODELS), "stream": number % 2 == 0}
    said = [{"role": "user", "content": prompt}]
    match dialect:
        case "messages":
            tools = [{"name": "list_files", "input_schema": schema}]
            body |= {"max_tokens": 500, "messages": said, "tools": tools}
        case "chat":
            tools = [{"type": "function", "function": {"name": "list_files", "parameters": schema}}]
            body |= {"messages": said, "tools": tools}
        case _:
            body |= {"input": prompt, "tools": [{"type": "function", "name": "list_files", "parameters": schema}]}
    return PATHS[dialect], body


async def load(server: Running, key: str, chance: random.Random, requests: int) -> None:
    """Users who ask one thing after the other; some hang up in the midst of an answer."""
    numbers = itertools.count()

    async def user() -> None:
        async with server.client(key) as client:
            while (number := next(numbers)) < requests:
                path, body = asked(number, chance)
                headers = {"user-agent": chance.choice(AGENTS)}
                try:
                    async with client.stream("POST", path, json=body, headers=headers) as answer:
                        async for _ in answer.aiter_raw():
                            if number % 10 == 4:
                                break  # and the connection is closed
                except httpx2.HTTPError:
                    pass  # cut, as the model's name asks for; or the server was killed

    async with asyncio.timeout(BOUND), asyncio.TaskGroup() as group:
        for _ in range(USERS):
            group.create_task(user())


class Scraped:
    """One exposition."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def by(self, name: str, *labels: str) -> Series:
        """Sums by these labels, without those that are 0."""
        found: Series = Counter()
        for sample in self.samples:
            if sample.name == f"aibridge_{name}" and sample.value:
                found[tuple(sample.labels[label] for label in labels)] += round(sample.value)
        return found

    def total(self, name: str) -> int:
        return sum(self.by(name).values())


async def scrape(server: Running, accept: str | None = None) -> Scraped:
    async with httpx2.AsyncClient(timeout=BOUND, trust_env=False) as client:
        answer = await client.get(metrics_url(server), headers={} if accept is None else {"accept": accept})
    assert answer.status_code == 200
    return Scraped(answer.text)


def metrics_url(server: Running) -> str:
    found = re.search(r"^metrics +(\S+)$", server.banner, re.MULTILINE)
    assert found is not None, server.banner
    return found[1]


async def at_rest(server: Running) -> Scraped:
    """When nothing is in flight any more: those who hung up may be seen a little later."""
    async with asyncio.timeout(BOUND):
        while (found := await scrape(server)).by("interceptions_inflight", "provider"):
            pass
    return found


# -- the books ------------------------------------------------------------------------------------------


class Books:
    """Sums over the tables. `boot`: only what one life of a process recorded. What was recovered nobody counted."""

    def __init__(self, database: Path, boot: str | None = None) -> None:
        self._database = database
        self._where = "ended_at IS NOT NULL AND state <> 'recovered' AND coalesce(?, boot_id) = boot_id"
        self._boot = boot

    def _rows(self, columns: str, table: str = "", which: str = "true") -> Iterator[tuple[Any, ...]]:
        joined = f"JOIN {table} AS f ON f.interception_id = i.id" if table else ""
        query = f"SELECT {columns} FROM aibridge_interceptions AS i {joined} WHERE {self._where} AND {which}"
        with closing(sqlite3.connect(self._database)) as connection:
            yield from connection.execute(query, (self._boot,)).fetchall()

    def interceptions(self) -> Series:
        ended = "CASE state WHEN 'completed' THEN 'completed' ELSE 'failed' END"
        return Counter(self._rows(f"provider_name, i.model, {ended}, route, client"))

    def state(self, *states: str) -> int:
        return sum(state in states for (state,) in self._rows("state"))

    def with_first_byte(self) -> int:
        return sum(1 for (first,) in self._rows("time_to_first_byte") if first is not None)

    def prompts(self) -> Series:
        return Counter(self._rows("provider_name, i.model, client", "aibridge_user_prompts"))

    def tools(self) -> Series:
        return Counter(self._rows("provider_name, i.model, tool", "aibridge_tool_usages", "NOT f.injected"))

    def injected(self) -> Series:
        """Those that were run. Of a turn that breaks off none is, though all that came of it is on record."""
        ran = "f.injected AND i.model <> 'simulate-cut'"
        return Counter(self._rows("provider_name, i.model, 'wiki', tool", "aibridge_tool_usages", ran))

    def ended(self, status: int) -> int:
        """How many were answered with this status."""
        return sum(found == status for (found,) in self._rows("http_status"))

    def tokens(self) -> Series:
        sums: Series = Counter()
        numbers = "f.input_tokens, f.output_tokens, f.cache_read_tokens, f.cache_write_tokens, f.extra"
        for *labels, given, made, read, written, extra in self._rows(
            f"provider_name, i.model, client, {numbers}", "aibridge_token_usages"
        ):
            types = {"input": given, "output": made, "cache_read": read, "cache_write": written}
            types |= {name: value for name, value in json.loads(extra or "{}").items() if isinstance(value, int)}
            for name, value in types.items():
                sums[*labels, name] += value
        return +sums  # without zeros, as the other side is


def agree(found: Scraped, books: Books) -> None:
    of_model = ("provider", "model")
    assert found.by("interceptions_total", *of_model, "status", "route", "client") == books.interceptions()
    assert found.by("prompts_total", *of_model, "client") == books.prompts()
    assert found.by("tokens_total", *of_model, "client", "type") == books.tokens()
    assert found.by("non_injected_tool_selections_total", *of_model, "name") == books.tools()
    assert found.total("client_disconnects_total") == books.state("client_gone")
    assert found.total("upstream_errors_total") == books.state("upstream_error", "upstream_stalled")
    assert found.total("interceptions_duration_seconds_count") == books.interceptions().total()
    assert found.total("time_to_first_byte_seconds_count") == books.with_first_byte()
    assert found.total("recording_failures_total") == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_after_a_mixed_load_with_faults_the_metrics_are_the_sums_over_the_tables(
    installation: Installation, seed: int, workers: int
) -> None:
    key = await installation.key()
    async with installation.serving("--workers", str(workers)) as server:
        await load(server, key, random.Random(seed), 150)
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
        loading = asyncio.create_task(load(server, key, chance, 400))
        async with asyncio.timeout(BOUND):
            while (await scrape(server)).total("interceptions_total") < 20:
                pass
        server.signal(signal.SIGKILL)
        await loading
    database = installation.folder / "aibridge.db"
    async with installation.serving() as server:
        at_first = await scrape(server)
        await load(server, key, chance, 40)
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
        loading = asyncio.create_task(load(server, key, random.Random(seed), 300))
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


def last_boot(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT id FROM aibridge_boots ORDER BY started_at DESC LIMIT 1"
        return str(connection.execute(query).fetchone()[0])


def recovered(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT count(*) FROM aibridge_interceptions WHERE state = 'recovered'"
        return int(connection.execute(query).fetchone()[0])


def workers_of(database: Path) -> list[int]:
    with closing(sqlite3.connect(database)) as connection:
        return [pid for (pid,) in connection.execute("SELECT pid FROM aibridge_boots WHERE ended_at IS NULL")]


# -- the page -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_page_is_valid_by_the_formats_of_prometheus_and_holds_no_secret(
    installation: Installation, seed: int, workers: int
) -> None:
    await installation.run("users", "create", "ada", "--email", "ada@example.org", "--config", str(installation.file))
    key = await installation.key("ada")
    async with installation.serving("--workers", str(workers)) as server:
        await load(server, key, random.Random(seed), 60)
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
    await promtool("check", "metrics", given=found.text)


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


async def promtool(*words: str, given: str = "") -> None:
    """Fails when promtool (Debian's package `prometheus`) complains; CI installs it."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed")
    process = await asyncio.create_subprocess_exec(
        tool, *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(BOUND):
        said, _ = await process.communicate(given.encode())
    assert (process.returncode, said) == (0, b""), said.decode()

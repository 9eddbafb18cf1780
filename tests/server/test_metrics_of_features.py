"""The metrics of tools, keys, retries and circuits against the tables and the provider's own ledger, after a mixed load."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from aibridge.server.demo.simulator import Exchange, Incoming, ScriptedAnswer, SimulatedProvider, serve_simulator
from tests.mcp.real_servers import Wiki, serving, text
from tests.scraping import Scraped, Series, at_rest, scrape
from tests.server.books import Books, agree, last_boot, recovered
from tests.server.installation import BOUND, CENTRAL_KEY, Installation, messages
from tests.server.mixed_load import PATHS, Question, dialect_of, load

pytestmark = pytest.mark.anyio

SECOND_KEY = "the-second-central-key"
LIMITED = 6  # answers of 429 to the first key
EXHAUSTED = "claude-exhausted"  # for which no key is good
PROMPTS = (
    "use wiki_read",
    "use wiki_write, then use wiki_read",
    "use list_files",
    "wiki_read and wiki_write in parallel",
)
MODELS = {  # by provider: what it is asked for, of which some is limited, fails, or is cut off
    "anthropic": ("claude-a", "claude-b", "simulate-cut"),
    "openai": ("gpt-a", "gpt-b", "simulate-error-529", "simulate-error-400"),
}


def configuration(installation: Installation, wiki: str) -> None:
    file = installation.configure(
        f"""max_retries = 1
[providers.circuit_breaker]
enabled = true
failure_threshold = 3
timeout = "0.3s"
[metrics]
port = 0
[[mcp_servers]]
name = "wiki"
url = "{wiki}"
allow_private = true
"""
    )
    file.write_text(file.read_text().replace('["env:ANTHROPIC_API_KEY"]', '["env:ANTHROPIC_API_KEY", "env:SECOND"]'))
    installation.environ["SECOND"] = SECOND_KEY


@pytest.fixture
def wiki() -> Wiki:
    wiki = Wiki()

    async def fails_for_some(arguments: dict[str, Any]) -> Any:
        return text("written") if len(wiki.calls) % 3 else text("the page is locked", error=True)

    wiki.answers["write"] = fails_for_some
    return wiki


@pytest.fixture
async def installation(tmp_path: Path, wiki: Wiki) -> AsyncIterator[Installation]:
    provider = SimulatedProvider(pace=0.0005)
    async with serve_simulator(provider) as provider_url, serving(wiki) as wiki_url:
        installation = Installation(tmp_path, provider, provider_url)
        configuration(installation, wiki_url)
        provider.script(limit(asked_for_what_is_exhausted, b"60", None))
        provider.script(limit(asked_with_the_first_key, b"1", LIMITED))
        yield installation


def limit(matches: Callable[[Incoming], bool], seconds: bytes, times: int | None) -> ScriptedAnswer:
    headers = [(b"content-type", b"application/json"), (b"retry-after", seconds)]
    return ScriptedAnswer(429, headers, [b"{}"], matches, times)


def asked_with_the_first_key(asked: Incoming | Exchange) -> bool:
    return asked.header("x-api-key") == CENTRAL_KEY


def asked_for_what_is_exhausted(asked: Incoming) -> bool:
    return EXHAUSTED.encode() in asked.body


def asked(chance: random.Random) -> Callable[[int], Question]:
    """Whoever leaves asks for no tool: of a call that was cancelled nobody else can say if it began."""

    def question(number: int) -> Question:
        leaves, dialect = number % 12 == 5, dialect_of(number)
        return Question(
            dialect,
            prompt="simulate 30 words" if leaves else chance.choice(PROMPTS),
            model=chance.choice(MODELS["anthropic" if dialect == "messages" else "openai"]),
            stream=chance.random() < 0.5,
            leaves=leaves,
        )

    return question


class Ledger:
    """What the provider says of the attempts."""

    def __init__(self, provider: SimulatedProvider) -> None:
        self._lines = [line for line in provider.ledger if line.method == "POST"]

    def limited(self) -> int:
        return sum(line.status == 429 and asked_with_the_first_key(line) for line in self._lines)

    def answered(self, status: int) -> int:
        return sum(line.status == status for line in self._lines)


def tools_agree(found: Scraped, books: Books) -> None:
    injected = books.injected()
    assert found.by("injected_tool_invocations_total", "provider", "model", "server", "name") == injected
    calls = {("wiki",): injected.total()}
    assert found.by("mcp_calls_total", "server") == found.by("mcp_call_seconds_count", "server") == calls


def totals(found: Scraped, name: str, *labels: str) -> Series:
    return found.by(name, "provider", *labels)


@pytest.mark.parametrize("workers", [1, 2])
async def test_tools_keys_retries_and_circuits_are_counted_as_they_were(
    installation: Installation, seed: int, workers: int
) -> None:
    key = await installation.key()
    async with installation.serving("--workers", str(workers)) as server:
        await load(server, key, 150, asked(random.Random(seed)))
        for _ in range(2):  # one after the other: who else asks may find the second key resting already
            async with server.client(key) as client:
                await client.post(PATHS["messages"], json=messages(model=EXHAUSTED))
        found = await at_rest(server)
        server.signal()
        assert await server.ended() == 0

    books, ledger = Books(installation.folder / "aibridge.db"), Ledger(installation.provider)
    agree(found, books)
    tools_agree(found, books)
    assert set(found.by("injected_tool_invocations_total", "server", "name")) == {("wiki", "read"), ("wiki", "write")}
    assert found.by("mcp_calls_total", "outcome")["failed",] > 0
    assert found.by("mcp_server_up", "server") == {("wiki",): 1}
    limited, overloaded = ledger.limited(), ledger.answered(529)
    assert limited > 0  # how often depends on how fast the machine is: a key rests for a second each time
    assert totals(found, "key_pool_failovers_total", "reason") == {("anthropic", "rate_limited"): limited}
    assert totals(found, "key_pool_exhaustions_total", "reason") == {("anthropic", "rate_limited"): books.ended(429)}
    assert totals(found, "upstream_retries_total", "reason") == {("openai", "529"): overloaded - books.ended(529)}
    assert totals(found, "circuit_breaker_rejects_total", "model") == {
        ("openai", "simulate-error-529"): books.state("rejected")
    }
    assert found.total("circuit_breaker_trips_total") > 0


async def test_after_a_kill_in_the_midst_of_tool_calls_what_was_counted_since_is_what_was_recorded_since(
    installation: Installation, wiki: Wiki, seed: int
) -> None:
    chance = random.Random(seed)
    key = await installation.key()
    async with installation.serving() as server:
        loading = asyncio.create_task(load(server, key, 400, asked(chance)))
        async with asyncio.timeout(BOUND):
            while (await scrape(server)).total("injected_tool_invocations_total") < 10:
                pass
        server.signal(signal.SIGKILL)
        await loading
    database = installation.folder / "aibridge.db"
    async with installation.serving() as server:
        at_first = await scrape(server)
        await load(server, key, 60, asked(chance))
        found = await at_rest(server)

    assert at_first.total("injected_tool_invocations_total") == at_first.total("mcp_calls_total") == 0
    books = Books(database, boot=last_boot(database))
    agree(found, books)
    tools_agree(found, books)
    assert books.injected().total() > 0
    assert found.total("recovered_interceptions_total") == recovered(database)

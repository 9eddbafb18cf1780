"""`aibridge serve` where people come with tokens of an identity provider, and MCP servers are asked with them.

Real SDKs, a server that checks each token, a token endpoint that exchanges them; and none of them is written anywhere.
"""

from __future__ import annotations

import asyncio
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from tests.durable import BOUND
from tests.exchanges import DialectName
from tests.fakes.oidc import AUDIENCE
from tests.house.company import EXCHANGE, LOOK_UP, Company, company_in
from tests.house.conversation import Conversation
from tests.mcp.caller.protected import CLIENT_SECRET, audiences_of, claims_of
from tests.mcp.real_servers import text
from tests.server.installation import Ran, Running
from tests.server.test_reloading import line, reloaded
from tests.tracing.collector import Collector, collecting

pytestmark = pytest.mark.anyio


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Company]:
    async with company_in(tmp_path) as made:
        yield made


@asynccontextmanager
async def talking(
    server: Running, dialect: DialectName, token: str, *, stream: bool = True
) -> AsyncIterator[Conversation]:
    async with Conversation(server.url, dialect, stream, key=token, prompt=LOOK_UP) as talk:
        yield talk


@pytest.mark.parametrize("dialect", ["messages", "chat_completions", "responses"])
async def test_two_people_talk_each_with_their_own_rights_and_go_on_with_new_tokens(
    company: Company, dialect: DialectName
) -> None:
    company.exchange.scopes["sub-ada"] = "read write"
    company.configure(EXCHANGE)
    own = {person: [company.token(person), company.token(person, jti="later")] for person in ("ada", "bob")}
    texts = []
    async with company.installation.serving() as server:
        for person, (token, later) in own.items():
            async with talking(server, dialect, token) as talk:
                await talk.ask()
                texts.append(talk.text)
            history = [*talk.history, {"role": "user", "content": LOOK_UP}]
            async with talking(server, dialect, later) as talk:
                talk.history = list(history)
                await talk.ask()
                texts.append(talk.text)
            assert f"read as sub-{person}" in texts[-2]
            assert f"read as sub-{person}" in texts[-1]
    claims = [claims_of(token, company.issuer, 0.0) for token in company.tracker.shown]

    assert [asked["subject_token"] for asked in company.exchange.asked] == [*own["ada"], *own["bob"]]
    assert company.tracker.shown == company.exchange.given
    assert {str(audiences_of(each or {})) for each in claims} == {str([company.url])}
    assert ["bmcp_tracker_write" in str(turn.body) for turn in company.installation.provider.ledger[::2]] == [
        True,
        True,
        False,
        False,
    ]


async def test_whichever_worker_is_asked_it_shows_what_the_person_came_with_there(company: Company) -> None:
    company.configure(EXCHANGE)
    tokens = {person: company.token(person) for person in ("ada", "bob")}
    texts: dict[str, list[str]] = {person: [] for person in tokens}

    async def talk(server: Running, person: str) -> None:
        async with talking(server, "messages", tokens[person]) as said:
            await said.ask()
        texts[person].append(said.text)

    async with company.installation.serving("--workers", "2") as server:
        async with asyncio.timeout(BOUND), asyncio.TaskGroup() as group:
            for _ in range(8):
                for person in tokens:
                    group.create_task(talk(server, person))
        asking = ("users", "list", "--config", str(company.installation.file), "--json")
        users = (await company.installation.run(*asking)).json()
    asked = Counter(asked["subject_token"] for asked in company.exchange.asked)

    for person, said in texts.items():
        assert len(said) == 8
        assert all(f"read as sub-{person}" in text for text in said)
    assert set(asked) == set(tokens.values())
    assert max(asked.values()) <= 2  # each worker for itself, however many ask it
    assert set(company.tracker.shown) == set(company.exchange.given)
    assert sorted(user["username"] for user in users) == ["ada", "bob"]


async def test_a_token_goes_on_as_it_is_only_where_it_names_the_server(company: Company) -> None:
    company.configure("announce_login = true\n")
    narrow, wide = company.token("ada"), company.token("bob", company.url)
    key = await company.installation.key("admin")
    async with company.installation.serving() as server:
        async with Conversation(server.url, "messages", True, key=narrow, prompt="Use tracker_login, please.") as ada:
            await ada.ask()
        async with talking(server, "messages", wide) as bob:
            await bob.ask()
        async with Conversation(server.url, "messages", True, key=key, prompt="Use tracker_login, please.") as admin:
            await admin.ask()
        async with server.client(narrow) as client:
            (status,) = (await client.get("/api/v2/aibridge/mcp")).json()["results"]

    assert company.tracker.shown == [wide]
    assert f"must name {company.url}" in ada.text
    assert "read as sub-bob" in bob.text
    assert "a gateway key is shown to no other server" in admin.text
    assert "your token is not for this server" in status["last_error"]
    assert company.exchange.asked == []


async def test_a_server_that_is_asked_otherwise_from_now_on_is_so_without_a_restart(company: Company) -> None:
    company.configure("")
    token = company.token("ada", company.url)
    async with company.installation.serving() as server:
        async with talking(server, "messages", token) as before:
            await before.ask()
        company.configure(EXCHANGE)
        await reloaded(company.installation, server)
        async with talking(server, "messages", token) as after:
            await after.ask()

    assert "read as sub-ada" in before.text
    assert "read as sub-ada" in after.text
    assert company.tracker.shown == [token, *company.exchange.given]
    assert len(company.exchange.given) == 1


async def test_a_server_gets_no_token_that_still_opens_the_gateway_while_another_audience_waits_for_a_restart(
    company: Company,
) -> None:
    company.configure("")
    token = company.token("ada", company.url)
    async with company.installation.serving() as server:
        company.configure(f'audience = "{AUDIENCE}"\n', audience="tomorrow")
        server.signal(signal.SIGHUP)
        why = (await line(company.installation, "the configuration cannot be used: the one before holds on"))["why"]
        async with talking(server, "messages", company.token("bob")) as bob:
            await bob.ask()
        async with talking(server, "messages", token) as ada:
            await ada.ask()

    assert "as it is until the next start" in why
    assert "read as sub-bob" not in bob.text
    assert "read as sub-ada" in ada.text
    assert company.tracker.shown == [token]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


async def test_no_token_is_in_anything_that_is_written_nor_goes_to_the_provider(
    company: Company, collector: Collector
) -> None:
    company.configure(EXCHANGE, '[metrics]\nport = 0\n[dumps]\nfolder = "dumps"\n[tracing]\nenabled = true\n')
    company.installation.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
    company.installation.environ["AIBRIDGE_SERVER__LOG_LEVEL"] = "debug"

    async def repeats(_: dict[str, Any]) -> Any:
        return text(f"you were shown {' '.join(company.tracker.shown)}")

    company.tracker.answers["read"] = repeats
    ada, bob = company.token("ada"), company.token("bob")
    async with company.installation.serving() as server:
        async with talking(server, "messages", ada) as talk, server.client(ada) as client:
            await talk.ask()
            company.exchange.before = lambda _: _denied(bob)
            async with talking(server, "messages", bob) as denied:
                await denied.ask()
            pages = [await client.get(f"/api/v2/aibridge/{page}") for page in ("mcp", "interceptions", "providers")]
            found = re.search(r"metrics\s+(http\S+)", server.banner)
            assert found is not None
            pages.append(await client.get(found[1], headers={"authorization": ""}))
        server.signal()
        assert await server.ended() == 0
    collector.until(2)
    folder = company.installation.folder
    written = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    asked = [f"{turn.headers} {turn.body!r}".encode() for turn in company.installation.provider.ledger]

    assert "you were shown [redacted]" in talk.text
    assert any("dumps" in path for path in written)
    assert len(company.exchange.given) == 1
    for secret in (ada, bob, *company.exchange.given, CLIENT_SECRET):
        for where, content in {
            **written,
            "provider": b"".join(asked),
            "spans": b"".join(collector.raw),
            "pages": b"".join(page.content for page in pages),
        }.items():
            assert secret.encode() not in content, where


def _denied(subject: str) -> Any:
    return JSONResponse({"error": "access_denied", "error_description": f"{subject} may not"}, 403)


async def test_an_administrator_tries_with_a_token_in_a_file_what_people_will_get(company: Company) -> None:
    company.configure(EXCHANGE)
    file = company.installation.folder / "ada.jwt"
    config = ("--config", str(company.installation.file))

    async def tried(token: str, *command: str) -> Ran:
        file.write_text(f"{token}\n")
        return await company.installation.run("mcp", *command, "--token-file", str(file), *config)

    good = await tried(company.token("ada"), "test", "tracker")
    listed = await tried(company.token("ada"), "tools", "tracker", "--json")
    foreign = await tried(company.issuer.token("sub-ada", aud="another"), "test", "tracker")
    no_token = await tried("canary-that-is-no-token", "test", "tracker")
    company.exchange.before = lambda _: _denied("sub-ada")
    denied = await tried(company.token("ada"), "test", "tracker")
    company.issuer.is_down = True
    down = await tried(company.token("ada"), "list")

    assert good.out.startswith("tracker is up (streamable_http, protocol 2026-07-28); tools offered: 1")
    assert [tool["name"] for tool in listed.json()["tools"]] == ["read"]
    assert "for another audience than this gateway" in foreign.err
    assert no_token.err == f"aibridge: what is in the file is no token of {company.issuer.url}\n"
    assert "gives you no token for this server (access_denied)" in denied.err
    assert "the token cannot be verified: the identity provider" in down.err
    assert [ran.status for ran in (good, foreign, no_token, denied, down)] == [0, 1, 1, 1, 1]
    assert company.tracker.shown == company.exchange.given

"""`aibridge serve` and people with tokens: as processes, with the providers' SDKs, over a real issuer and database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from tests.durable import BOUND
from tests.fakes.oidc import AUDIENCE, OidcIssuer, serving_oidc
from tests.server.installation import Installation, Running, messages
from tests.server.web.browser import Browser
from tests.server.web.test_logins import house as house_with_logins
from tests.tracing.collector import collecting

pytestmark = pytest.mark.anyio


@dataclass
class House:
    installation: Installation
    issuer: OidcIssuer
    folder: Path

    async def run(self, *arguments: str) -> Any:
        return (await self.installation.run(*arguments, "--config", str(self.installation.file), "--json")).json()


@asynccontextmanager
async def house(folder: Path, more: str = "", *, modes: str = '"oidc", "key"', oidc: str = "") -> AsyncIterator[House]:
    provider = SimulatedProvider()
    async with serve_simulator(provider) as provider_url, serving_oidc() as issuer:
        installation = Installation(folder, provider, provider_url)
        table = f'[auth.oidc]\nissuer = "{issuer.url}"\naudience = "{AUDIENCE}"\nallow_private = true\n{oidc}'
        file = installation.configure(f"{table}\n{more}")
        file.write_text(
            file.read_text()
            .replace('modes = ["key"]', f"modes = [{modes}]")
            .replace("[server]\n", '[server]\nlog_level = "debug"\n')
        )
        yield House(installation, issuer, folder)


async def ask(server: Running, token: str, **more: str) -> httpx2.Response:
    async with server.client(token) as client:
        return await client.post("/anthropic/v1/messages", json=messages(), headers=more)


async def without_warnings(client: httpx2.AsyncClient) -> httpx2.Response:
    """What `/readyz` says once it has nothing to warn about."""
    async with asyncio.timeout(BOUND):
        while True:
            response = await client.get("/readyz")
            if "warnings" not in response.json():
                return response
            await asyncio.sleep(0.05)


async def test_the_sdks_of_two_people_come_in_with_tokens_which_are_then_nowhere(tmp_path: Path) -> None:
    with collecting() as collector:
        async with house(
            tmp_path,
            '[metrics]\nport = 0\ninclude_initiator = true\n[tracing]\nenabled = true\n[dumps]\nfolder = "dumps"\n',
            oidc='admin_groups = ["root"]\n',
        ) as h:
            h.installation.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
            ada, bob = h.issuer.token(groups=["root", "staff"]), h.issuer.token("sub-bob")
            dead, foreign = h.issuer.token(life=-3600), h.issuer.token(aud="elsewhere")
            async with h.installation.serving() as server:
                claude = AsyncAnthropic(base_url=f"{server.url}/anthropic", auth_token=ada, max_retries=0)
                claude_by_key = AsyncAnthropic(base_url=f"{server.url}/anthropic", api_key=bob, max_retries=0)
                openai = AsyncOpenAI(base_url=f"{server.url}/openai/v1", api_key=bob, max_retries=0)
                async with claude, claude_by_key, openai:
                    asked = [{"role": "user", "content": "hello"}]
                    for each in (claude, claude_by_key):
                        await each.messages.create(model="claude-opus-5-5", max_tokens=100, messages=asked)  # type: ignore[arg-type]  # plain dicts do
                    await openai.chat.completions.create(model="gpt-5", messages=asked)  # type: ignore[arg-type]  # as above
                    await openai.responses.create(model="gpt-5", input="hello")
                refused = [await ask(server, token) for token in (dead, foreign)]
                doubled = await ask(server, ada, **{"x-trace": f"{ada} {dead}", "cookie": f"t={bob}"})
                byok = await ask(server, "sk-ant-own", **{"x-aibridge-token": ada})
                answers = [*refused, doubled, byok]
                async with server.client(ada) as hers, server.client(bob) as his:
                    lists = [(await each.get("/api/v2/aibridge/interceptions")) for each in (hers, his)]
                    answers += [*lists, await hers.get("/api/v2/aibridge/providers")]
                    found = re.search(r"metrics\s+(http\S+)", server.banner)
                    assert found is not None
                    metrics = await his.get(found[1], headers={"authorization": ""})
                users = await h.run("users", "list")
                server.signal()
                assert await server.ended() == 0
            collector.until(6)
            upstream = b"".join(b": ".join(pair) for line in h.installation.provider.ledger for pair in line.headers)
            given = h.issuer.given

    assert [response.status_code for response in (*refused, doubled, byok)] == [401, 401, 200, 200]
    assert {answer.headers["x-should-retry"] for answer in refused} == {"false"}
    assert {user["username"]: user["role"] for user in users} == {"ada": "admin", "bob": "member"}
    everybodys, his_own = [response.json()["results"] for response in lists]
    assert len(everybodys) == 6
    assert sorted(each["initiator"]["username"] for each in everybodys) == ["ada"] * 3 + ["bob"] * 3
    assert {each["initiator"]["username"] for each in his_own} == {"bob"}
    assert b"sk-ant-own" in upstream

    files = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}  # noqa: ASYNC240  nothing else runs here
    assert any("dumps" in path for path in files)
    places = {
        **files,
        "the spans": b"".join(collector.raw),
        "the metrics": metrics.content,
        "the banner": server.banner.encode(),
        "what providers saw": upstream,
        **{f"the answer {number}": answer.content for number, answer in enumerate(answers)},
    }
    signatures = [token.split(".")[2].encode() for token in given]
    assert [where for where, content in places.items() if any(each in content for each in signatures)] == []


async def test_every_worker_lets_the_same_people_in_and_hears_of_changes(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        async with h.installation.serving("--workers", "2") as server:
            token = h.issuer.token()
            first = await asyncio.gather(*(ask(server, token) for _ in range(12)))
            h.issuer.rotate("key-2")
            rotated = [(await ask(server, h.issuer.token())).status_code for _ in range(6)]
            await h.run("users", "suspend", "ada")
            suspended = await asyncio.gather(*(ask(server, h.issuer.token()) for _ in range(12)))
        users = await h.run("users", "list")

    assert {response.status_code for response in first} == {200}
    assert rotated == [200] * 6
    assert {response.status_code for response in suspended} == {401}
    assert "suspended" in suspended[0].text
    assert [user["username"] for user in users] == ["ada"]


async def test_a_server_starts_without_its_identity_provider_and_says_so(tmp_path: Path) -> None:
    async with house(tmp_path, modes='"key", "oidc"') as h:
        h.issuer.is_down = True
        key = await h.installation.key()
        async with h.installation.serving() as server, server.client() as client:
            by_key = await ask(server, key)
            by_token = await ask(server, h.issuer.token())
            ready = await client.get("/readyz")
            h.issuer.is_down = False
            again = await without_warnings(client)
            later = await ask(server, h.issuer.token())
        log = h.installation.log()

    assert (by_key.status_code, by_token.status_code, later.status_code) == (200, 503, 200)
    assert int(by_token.headers["retry-after"]) >= 1
    assert ready.json()["warnings"] == ["no token can be verified: the identity provider's keys are not known"]
    assert again.json() == {"status": "ready"}
    assert [line["why"] for line in log if line["event"] == "the identity provider's keys cannot be fetched"] == [
        "its configuration is answered with 503"
    ]


async def test_where_tokens_alone_let_people_in_no_key_does(tmp_path: Path) -> None:
    async with house(tmp_path, modes='"oidc"') as h:
        key = await h.installation.key()
        async with h.installation.serving() as server:
            by_key, by_token = await ask(server, key), await ask(server, h.issuer.token())

    assert (by_key.status_code, by_token.status_code) == (401, 200)
    assert f"tokens         of {h.issuer.url}" in server.banner
    assert "make one with" not in server.banner


@pytest.mark.parametrize(
    ("oidc", "told"),
    [
        ('jwks_url = "ftp://x"', "auth.oidc.jwks_url: must be an https:// URL"),
        ('ca_bundle = "none.pem"', "auth.oidc.ca_bundle: cannot be read (No such file or directory)"),
        ('issuer_url = "x"', "auth.oidc.issuer_url: unknown key; did you mean issuer?"),
    ],
)
async def test_what_cannot_be_served_is_one_line_at_the_start(tmp_path: Path, oidc: str, told: str) -> None:
    async with house(tmp_path, oidc=oidc) as h:
        ran = await h.installation.run("serve", "--config", str(h.installation.file), "--port", "0")
        checked = await h.installation.run("config", "check", "--config", str(h.installation.file))

    assert (ran.status, checked.status) == (1, 1)
    assert ran.err == checked.err
    assert told in ran.err
    assert ran.err.count("\n") == 1


async def test_a_person_logs_in_at_an_mcp_server_with_a_token(tmp_path: Path) -> None:
    browser = Browser()
    async with serving_oidc() as issuer:
        table = {"issuer": issuer.url, "audience": [AUDIENCE], "allow_private": True}
        environ = {"AIBRIDGE_AUTH__MODES": "key,oidc", "AIBRIDGE_AUTH__OIDC": msgspec.json.encode(table).decode()}
        async with house_with_logins(tmp_path, environ=environ) as h:
            token = issuer.token("sub-eve")
            await browser.open(h.page)
            wrong = await browser.send("sign-in", key=issuer.token("sub-eve", aud="elsewhere"))
            told = await h.log_in(browser, token, "eve")
            status = await h.mcp(token)
            h.people.suspend("eve")
            suspended = await browser.open(h.page)

    assert wrong.status_code == 401
    assert "is for another audience than this gateway" in wrong.text
    assert "You have logged in at wiki as eve" in told.text
    assert status["login"] == "done"
    assert "Your aibridge key or a token of your identity provider" in suspended.text
    assert token.split(".")[2] not in str(browser.jar)

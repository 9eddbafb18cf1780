"""People log in at an MCP server through the gateway's pages, as with a browser; and what others try there."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aibridge.clock import SystemClock, new_id
from aibridge.credentials import Secret
from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from aibridge.server.people import People
from aibridge.server.server_secret import derived_key
from aibridge.server.store import open_people
from tests.fakes.authorization_server import AuthorizationServer, serving_authorization
from tests.mcp.oauth.logins import protected
from tests.mcp.real_servers import Wiki, serving
from tests.server.installation import Installation, Running, messages
from tests.server.web.browser import LINK, Browser

pytestmark = pytest.mark.anyio
SECRET = "secret-of-the-server-in-these-tests"
PAGE = "/api/v2/aibridge/mcp/wiki/login"


@dataclass
class House:
    """A gateway with a protected wiki, and the keys of two people."""

    installation: Installation
    server: Running
    wiki: Wiki
    by: AuthorizationServer
    people: People
    ada: str
    bob: str

    @property
    def page(self) -> str:
        return f"{self.server.url}{PAGE}"

    async def log_in(self, browser: Browser, key: str, person: str) -> httpx2.Response:
        self.by.person = person
        await browser.open(self.page)
        await browser.send("sign-in", key=key)
        await browser.send("continue")
        return await browser.go_on()

    async def mcp(self, key: str) -> Any:
        async with self.server.client(key) as client:
            (status,) = (await client.get("/api/v2/aibridge/mcp")).json()["results"]
        return status

    async def ask(self, key: str, **more: Any) -> Any:
        async with self.server.client(key) as client:
            return (await client.post("/anthropic/v1/messages", json=messages(**more))).json()


@asynccontextmanager
async def house(
    folder: Path, more: str = "", *options: str, environ: dict[str, str] | None = None
) -> AsyncIterator[House]:
    provider, wiki = SimulatedProvider(), Wiki()
    async with (
        serve_simulator(provider) as provider_url,
        serving_authorization() as by,
        serving(wiki) as url,
    ):
        protected(wiki, by)
        installation = Installation(folder, provider, provider_url)
        installation.configure(
            f'[[mcp_servers]]\nname = "wiki"\nurl = "{url}"\nauth = "oauth"\nallow_private = true\n'
            f"announce_login = true\n{more}"
        )
        installation.environ |= {
            "AIBRIDGE_SERVER__SECRET": SECRET,
            "AIBRIDGE_SERVER__LOG_LEVEL": "debug",
            **(environ or {}),
        }
        hash_key = derived_key(Secret(SECRET), "token hashes")
        with open_people(folder / "aibridge.db", hash_key=hash_key, clock=SystemClock(), ids=new_id) as people:
            for person in ("ada", "bob"):
                people.create_user(person)
            keys = [people.create_key(person, name="test").secret for person in ("ada", "bob")]
            async with installation.serving(*options) as server:
                yield House(installation, server, wiki, by, people, *keys)


def written(folder: Path) -> dict[str, bytes]:
    """All files, as they are now."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def visited(browser: Browser) -> list[int]:
    return [response.status_code for response in browser.seen]


async def test_a_person_logs_in_and_the_secrets_appear_nowhere(tmp_path: Path) -> None:
    ada, bob = Browser(), Browser()
    async with house(tmp_path) as h:
        before = await h.mcp(h.ada)
        asked = await h.ask(h.ada, text="use a tool")
        told = await h.log_in(ada, h.ada, "ada")
        await h.log_in(bob, h.bob, "bob")
        answers = [await h.ask(key, text="use a tool") for key in (h.ada, h.bob)]
        statuses = [await h.mcp(key) for key in (h.ada, h.bob)]
        listed = await h.installation.run(
            "mcp", "list", "--user", "ada", "--json", "--config", str(h.installation.file)
        )
        page = await h.installation.run("mcp", "login", "wiki", "--config", str(h.installation.file))
        out = await h.installation.run("mcp", "logout", "wiki", "--user", "ada", "--config", str(h.installation.file))
        after = await h.mcp(h.ada)
        bodies = [exchange.body for exchange in h.installation.provider.ledger]
        files = written(tmp_path)

    assert before["login"] == "needed"
    assert h.page in before["last_error"]
    assert asked["content"][-1]["type"] == "text"
    assert b"bmcp_wiki_login" in bodies[0]
    assert f"log in at {h.page}".encode() in bodies[1]  # the model was told, and can tell
    assert "You have logged in at wiki as ada" in told.text
    assert h.wiki.calls != []
    assert [each["content"][0]["type"] for each in answers] == ["text", "text"]
    assert [(status["login"], [tool["name"] for tool in status["tools"]]) for status in statuses] == [
        ("done", ["read", "write"]),
        ("done", ["read", "write"]),
    ]
    shown = {
        request.headers["authorization"].removeprefix("Bearer ")
        for request in h.wiki.requests
        if "authorization" in request.headers
    }
    assert {h.by.access[token] for token in shown} == {"ada", "bob"}
    assert [(each["state"], each["login"]) for each in listed.json()] == [("up", "done")]
    assert page.out == f"http://127.0.0.1:8787{PAGE}\n"
    assert out.out == "ada is logged out at wiki; its tokens were taken back\n"
    assert (after["login"], len(h.by.revocations)) == ("needed", 1)
    pages = b"".join(response.content for browser in (ada, bob) for response in browser.seen)
    everything = {
        **files,
        "pages": pages,
        "upstream": b"".join(bodies),
        "out": (listed.out + page.out + out.out).encode(),
    }
    assert {"log", "aibridge.db", "aibridge.db-wal"} <= set(files)
    for secret in [*h.by.given, h.ada, h.bob, SECRET]:
        assert [where for where, text in everything.items() if secret.encode() in text] == []
    with closing(sqlite3.connect(tmp_path / "aibridge.db")) as database:
        kinds = [kind for (kind,) in database.execute("SELECT kind FROM aibridge_mcp_logins ORDER BY kind")]
    assert kinds == ["client", "login"]


async def test_pages_run_nothing_and_are_kept_nowhere(tmp_path: Path) -> None:
    browser = Browser()
    async with house(tmp_path) as h:
        await h.log_in(browser, h.ada, "ada")
        lines = [line for response in browser.seen for line in response.headers.get_list("set-cookie")]

    ours = [response for response in browser.seen if "/mcp/" in str(response.url) or "/oauth/" in str(response.url)]
    assert visited(browser) == [200, 303, 200, 200, 302, 303, 200]
    assert len(ours) == 6
    assert all("<main><h1>" in response.text for response in ours if response.status_code == 200)
    for response in ours:
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-frame-options"] == "DENY"
    assert len(lines) == 2  # before the sign-in, and another after it
    assert all("; HttpOnly; SameSite=Lax" in line for line in lines)
    assert len(set(lines)) == 2
    assert h.ada not in "".join(lines)


async def test_what_is_not_sent_by_the_person_from_our_page_begins_nothing(tmp_path: Path) -> None:
    ada, other, stranger = Browser(), Browser(), Browser()
    async with house(tmp_path) as h:
        await ada.open(h.page)
        await ada.send("sign-in", key=h.ada)
        form = ada.forms()["continue"]
        own = h.server.url
        foreign = await ada.post(h.page, form, origin="https://evil.example")
        cross = await ada.post(h.page, form, origin=own, sec_fetch_site="cross-site")
        made_up = await ada.post(h.page, {**form, "form_token": "0" * 64}, origin=own)
        no_cookie = await stranger.post(h.page, form, origin=own)
        await other.open(h.page)
        await other.send("sign-in", key=h.bob)
        bobs = await other.post(h.page, form, origin=own)
        get = await ada.open(f"{h.page}?action=continue&form_token={form['form_token']}")
        rebound = await ada.open(h.page, follow=False, host="evil.example")
        elsewhere = await ada.open(h.page.replace("127.0.0.1", "localhost"), follow=False)
        large = await ada.post(h.page, {**form, "x": "y" * 20_000}, origin=own)

    assert [each.status_code for each in (foreign, cross, made_up, no_cookie, bobs)] == [403] * 5
    assert get.status_code == 200
    assert rebound.status_code == 421
    assert (elsewhere.status_code, elsewhere.headers["location"]) == (303, h.page)
    assert large.status_code == 400
    assert h.by.authorizations == []
    assert h.wiki.requests == []


async def test_keys_that_open_nothing_sign_in_nobody(tmp_path: Path) -> None:
    browser, other = Browser(), Browser()
    async with house(tmp_path) as h:
        await browser.open(h.page)
        wrong = await browser.send("sign-in", key="aib_nothing")
        reader = h.people.create_key("ada", name="reader", scopes=["read:own"]).secret
        narrow = await browser.send("sign-in", key=reader)
        still = await browser.open(h.page)
        await other.open(h.page)
        await other.send("sign-in", key=h.bob)
        signed_out = await other.send("sign-out")
        await other.send("sign-in", key=h.bob)
        h.people.suspend("bob")
        suspended = await other.open(h.page)

    assert (wrong.status_code, narrow.status_code) == (401, 403)
    assert '<p class="wrong" id="wrong" role="alert">This is no key of this gateway' in wrong.text
    assert 'autofocus aria-invalid="true" aria-describedby="wrong"' in wrong.text
    assert "aria-invalid" not in still.text
    assert "lacks the scope use" in narrow.text
    assert "Your aibridge key" in still.text
    assert "Your aibridge key" in signed_out.text
    assert "Your aibridge key" in suspended.text


async def test_the_way_back_is_for_the_browser_that_began(tmp_path: Path) -> None:
    ada, bob, nobody = Browser(), Browser(), Browser()
    async with house(tmp_path) as h:
        await ada.open(h.page)
        await ada.send("sign-in", key=h.ada)
        await ada.send("continue")
        await bob.open(h.page)
        await bob.send("sign-in", key=h.bob)
        link = ada.page.text.partition('<a href="')[2].partition('"')[0].replace("&amp;", "&")
        async with httpx2.AsyncClient(trust_env=False) as http:
            back = (await http.get(link)).headers["location"]
        anonymous = await nobody.open(back)
        doubled = await ada.open(f"{back}&state=other")
        stolen = await bob.open(back)
        late = await ada.open(back)
        bobs = await h.mcp(h.bob)

    assert [each.status_code for each in (anonymous, doubled, stolen, late)] == [403, 400, 400, 400]
    assert "begun by somebody else, or in another browser" in stolen.text
    assert h.by.exchanges == []
    assert bobs["login"] == "needed"


async def test_who_reloads_the_page_after_a_login_reads_the_same(tmp_path: Path) -> None:
    ada, bob = Browser(), Browser()
    async with house(tmp_path) as h:
        told = await h.log_in(ada, h.ada, "ada")
        done = ada.where
        again = await ada.open(done)
        anew = await ada.open(h.page)
        await bob.open(done)
        not_his = await bob.send("sign-in", key=h.bob)
        his = await bob.open(done)
        await h.installation.run("mcp", "logout", "wiki", "--user", "ada", "--config", str(h.installation.file))
        after = await ada.open(done)

    assert "You have logged in at wiki as ada" in told.text
    assert again.text == told.text
    assert [word for word in ("code", "state") if word in done] == []
    assert "this makes a new login" in anew.text
    for page in (not_his, his, after):
        assert "You have logged in" not in page.text
        assert 'value="continue"' in page.text


async def test_who_was_not_let_in_or_is_in_an_old_tab_can_begin_again(tmp_path: Path) -> None:
    ada, tab = Browser(), Browser()
    async with house(tmp_path) as h:
        await ada.open(h.page)
        tab.jar = ada.jar
        await tab.open(h.page.replace("wiki", "%22%3E%3F"))
        await ada.send("sign-in", key=h.ada)
        old = await tab.send("sign-in", key=h.ada)
        other = LINK.findall(old.text)
        h.by.answer = {"code": "", "error": "access_denied"}
        await ada.send("continue")
        denied = await ada.go_on()
        await ada.open(LINK.findall(denied.text)[0])
        h.by.answer = {}
        await ada.send("continue")
        told = await ada.go_on()

    assert (old.status_code, denied.status_code) == (403, 400)
    assert other == [h.page.replace("wiki", "%22%3E%3F")]
    assert "did not let you in" in denied.text
    assert "You have logged in at wiki as ada" in told.text


async def test_a_server_that_is_not_for_somebody_is_none(tmp_path: Path) -> None:
    browser = Browser()
    async with house(tmp_path, 'groups = ["writers"]\n') as h:
        await browser.open(h.page)
        there = await browser.send("sign-in", key=h.ada)
        missing = await browser.open(h.page.replace("wiki", "nothing"))
        hostile = await Browser().open(h.page.replace("wiki", "%3Cscript%3E"))

    assert (there.status_code, missing.status_code) == (404, 404)
    assert there.text == missing.text
    assert "&lt;script&gt;" in hostile.text
    assert "<script" not in hostile.text


async def test_logins_work_over_several_workers(tmp_path: Path) -> None:
    browser = Browser()
    async with house(tmp_path, "", "--workers", "2") as h:
        told = await h.log_in(browser, h.ada, "ada")
        statuses = [await h.mcp(h.ada) for _ in range(6)]

    assert "You have logged in" in told.text
    assert {status["login"] for status in statuses} == {"done"}

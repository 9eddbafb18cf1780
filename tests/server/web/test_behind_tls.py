"""The pages at a public https:// address, behind a proxy that speaks TLS for them."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from aibridge.clock import new_id
from aibridge.mcp import McpServer
from aibridge.mcp.oauth.logins import Logins
from aibridge.server.auth.authenticator import GatewayAuthenticator
from aibridge.server.auth.bad_tokens import BadTokens
from aibridge.server.configured_logins import PagesOfLogins
from aibridge.server.people import People
from aibridge.server.sealing import Sealing
from aibridge.server.web.logins import login_routes
from aibridge.stores.logins import SqliteLogins
from tests.durable import SetClock, database

pytestmark = pytest.mark.anyio
PUBLIC = "https://ai.example"
PATH = "/api/v2/aibridge/mcp/wiki/login"
Ask = Callable[..., httpx2.AsyncClient]


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    clock, file = SetClock(), database(tmp_path)
    server = McpServer(name="wiki", url="https://wiki.example/mcp", auth="oauth")
    with (
        closing(People(file, hash_key=bytes(32), clock=clock, ids=new_id)) as people,
        closing(SqliteLogins(file, cipher=Sealing(b"k" * 32), clock=clock, ids=new_id)) as store,
    ):
        logins = Logins({"wiki": server}, store, redirect_uri=f"{PUBLIC}/back", page=str, clock=clock)
        pages = PagesOfLogins(logins, people, PUBLIC, b"s" * 32)
        app = Starlette(routes=login_routes(pages, GatewayAuthenticator(people, BadTokens(), clock), clock))

        def client(address: str) -> httpx2.AsyncClient:
            return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=address)

        yield client


@pytest.mark.parametrize("address", [PUBLIC, f"{PUBLIC}:443", "http://127.0.0.1:8787", "http://localhost"])
async def test_the_pages_answer_to_their_name_and_to_that_of_the_proxy(ask: Ask, address: str) -> None:
    async with ask(address) as client:
        response = await client.get(PATH)

    assert response.status_code == 200
    assert response.headers["set-cookie"].startswith("__Host-aibridge=")
    assert response.headers["set-cookie"].endswith("; Secure")


@pytest.mark.parametrize("address", ["https://ai.example.evil.example", "http://10.0.0.1", f"{PUBLIC}:8443"])
async def test_they_answer_to_no_other_name(ask: Ask, address: str) -> None:
    async with ask(address) as client:
        page, back = await client.get(PATH), await client.get("/api/v2/aibridge/oauth/callback?state=x&code=y")

    assert page.status_code in (303, 421)
    assert page.headers.get("location", f"{PUBLIC}{PATH}") == f"{PUBLIC}{PATH}"
    assert back.status_code == 421
    assert "set-cookie" not in page.headers


async def test_a_form_that_was_opened_at_loopback_leads_to_the_public_name(ask: Ask) -> None:
    """A browser on the machine itself: it cannot be told from a proxy until it says where its form is from."""
    here = "http://127.0.0.1:8787"
    async with ask(here) as client:
        page = await client.get(PATH)
        cookie = page.headers["set-cookie"].partition(";")[0]
        token = re.search(r'name="form_token" value="([0-9a-f]+)"', page.text)
        assert token is not None
        form = {"form_token": token[1], "action": "sign-in", "key": "aib_nothing"}
        said = [
            await client.post(PATH, data=form, headers={"cookie": cookie, "origin": origin})
            for origin in (here, PUBLIC)
        ]

    assert [response.status_code for response in said] == [403, 401]
    assert f'<a href="{PUBLIC}{PATH}">Begin again</a>' in said[0].text

"""An MCP server that lets in whom an authorization server gave a token, and logins at it without any browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aibridge.clock import SystemClock, new_id
from aibridge.database.files import DatabaseFile
from aibridge.database.upgrade import bring_up_to_date
from aibridge.mcp import McpServer
from aibridge.mcp.oauth.logins import Logins
from aibridge.server.sealing import Sealing
from aibridge.stores.logins import SqliteLogins
from tests.fakes.authorization_server import AuthorizationServer, serving_authorization
from tests.mcp.real_servers import Wiki, at, serving

PAGES = "http://127.0.0.1:1"
BACK = f"{PAGES}/back"
METADATA = "/.well-known/oauth-protected-resource/mcp"


def protected(wiki: Wiki, by: AuthorizationServer, resource: str = "", named: str = METADATA) -> None:
    """Only tokens of `by` are let in; the refusal names the metadata, which names the authorization server."""

    def before(request: Request) -> Response | None:
        own = f"http://{request.headers['host']}"
        if request.url.path == METADATA:
            return JSONResponse({"resource": resource or f"{own}/mcp", "authorization_servers": [by.url]})
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token in by.access:
            return None
        where = named if named.startswith("http") else f"{own}{named}"
        return Response("", 401, {"www-authenticate": f'Bearer resource_metadata="{where}"'})

    wiki.before = before


@dataclass
class House:
    """A protected wiki, its authorization server, and the logins at it."""

    wiki: Wiki
    by: AuthorizationServer
    server: McpServer
    logins: Logins
    file: DatabaseFile
    clock: Any

    async def log_in(self, actor_id: str, server: McpServer | None = None) -> None:
        """As a browser would."""
        url = await self.logins.begun(server or self.server, actor_id, "session")
        await self.come_back(actor_id, await self.answer(url))

    async def answer(self, url: str) -> dict[str, str]:
        """What the authorization server says on the way back."""
        async with httpx2.AsyncClient(trust_env=False) as browser:
            response = await browser.get(url)
        assert response.status_code == 302, response.text
        return dict(httpx2.URL(response.headers["location"]).params)

    async def come_back(self, actor_id: str, answer: dict[str, str], session: str = "session") -> McpServer:
        return await self.logins.finished(
            actor_id, session, state=answer["state"], code=answer.get("code"), issuer=answer.get("iss")
        )


@asynccontextmanager
async def logins_in(
    folder: Path, server: McpServer, clock: Any = None, *, ca_bundle: str | None = None
) -> AsyncIterator[tuple[Logins, DatabaseFile]]:
    """Logins in a file of that folder; others may have the same file."""
    file = DatabaseFile.at(folder / "aibridge.db")
    bring_up_to_date(file)
    clock = clock or SystemClock()
    with closing(SqliteLogins(file, cipher=Sealing(b"k" * 32), clock=clock, ids=new_id)) as store:
        page = f"{PAGES}/{{}}/login".format
        async with Logins(
            {server.name: server}, store, redirect_uri=BACK, page=page, clock=clock, ca_bundle=ca_bundle
        ) as logins:
            yield logins, file


@asynccontextmanager
async def house(folder: Path, *, clock: Any = None, **settings: Any) -> AsyncIterator[House]:
    wiki = Wiki()
    async with serving_authorization() as by, serving(wiki) as url:
        protected(wiki, by)
        server = at(url, auth="oauth", **settings)
        async with logins_in(folder, server, clock) as (logins, file):
            yield House(wiki, by, server, logins, file, clock)


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"

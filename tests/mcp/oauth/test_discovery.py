"""Where logins are made is found in every way that servers say it, and believed only where it fits what was configured."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from aibridge.credentials import Secret
from aibridge.mcp import McpServer
from aibridge.mcp.oauth.discovery import discovered
from aibridge.mcp.oauth.fetching import Fetching
from aibridge.mcp.oauth.values import LoginFailed
from tests.fakes.clock import FakeClock
from tests.mcp.oauth.logins import METADATA, House, house, logins_in, protected
from tests.mcp.real_servers import at
from tests.upstream.authority import Authority

pytestmark = pytest.mark.anyio


class Answering(httpx2.AsyncBaseTransport):
    """In place of the network: public names have no address here."""

    def __init__(self, answer: Callable[[httpx2.Request], httpx2.Response]) -> None:
        self._answer = answer

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return self._answer(request)


async def refused(h: House) -> str:
    with pytest.raises(LoginFailed) as raised:
        await h.logins.begun(h.server, "alice", "session")
    assert h.by.clients == {}
    return str(raised.value)


async def test_a_server_that_names_nothing_is_looked_up_where_the_metadata_belongs(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        inner = h.wiki.before
        assert inner is not None

        def mute(request: Request) -> Response | None:
            response = inner(request)
            if response is not None and response.status_code == 401:
                return Response("", 401)
            return response

        h.wiki.before = mute
        await h.log_in("alice")

    assert [request.url.path for request in h.wiki.requests][:2] == ["/mcp", METADATA]


async def test_a_server_of_before_metadata_has_its_authorization_server_beside_it(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        own = str(h.server.url).removesuffix("/mcp")
        described = await h.by.described(Request({"type": "http"}))

        def old(request: Request) -> Response | None:
            if request.url.path == "/.well-known/oauth-authorization-server":
                return Response(
                    bytes(described.body).replace(f'"issuer":"{h.by.url}"'.encode(), f'"issuer":"{own}"'.encode())
                )
            return Response("", 404 if request.url.path.startswith("/.well-known") else 401)

        h.wiki.before = old
        h.by.answer = {"iss": own}
        await h.log_in("alice")
        kept = h.logins.login("alice", h.server)

    assert kept is not None
    assert kept.at.resource == h.server.url


async def test_metadata_of_openid_providers_is_found_too(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        (route,) = [each for each in h.by.routes if each.path == "/.well-known/oauth-authorization-server"]
        h.by.routes[h.by.routes.index(route)] = type(route)("/.well-known/openid-configuration", h.by.described)
        await h.log_in("alice")

    assert len(h.by.access) == 1


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"issuer": "https://other.example"}, "names another issuer"),
        ({"code_challenge_methods_supported": None}, "does not support PKCE"),
        ({"code_challenge_methods_supported": ["plain"]}, "does not support PKCE"),
        ({"registration_endpoint": None}, "makes no clients: set client_id"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "nothing says where"),
        ({"token_endpoint": "http://169.254.169.254/"}, "is a link-local address"),
        ({"token_endpoint": "ftp://127.0.0.1/"}, "nothing says where"),
    ],
)
async def test_what_an_authorization_server_says_must_be_usable(
    tmp_path: Path, said: dict[str, Any], words: str
) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        h.by.metadata = said
        why = await refused(h)

    assert words in why


async def test_metadata_of_another_resource_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        protected(h.wiki, h.by, resource="https://other.example/mcp")
        words = await refused(h)

    assert words == "the metadata of wiki is that of another resource"


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("http://10.0.0.1/x", "http://"),
        ("https://10.0.0.1/x", "is a private address"),
        ("https://[::ffff:127.0.0.1]/x", "is a private address"),
        ("https://169.254.169.254/latest", "is a private address"),
        ("file:///etc/passwd", "must be an https:// URL"),
    ],
)
async def test_addresses_that_a_public_server_names_are_checked_like_its_own(
    tmp_path: Path, named: str, words: str
) -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        headers = {"www-authenticate": f'Bearer resource_metadata="{named}"'}
        return httpx2.Response(401, headers=headers, stream=httpx2.ByteStream(b""))

    public = McpServer(name="wiki", url="https://wiki.example/mcp", auth="oauth")
    async with httpx2.AsyncClient(transport=Answering(answer)) as http:
        with pytest.raises(LoginFailed, match="resource metadata of wiki") as raised:
            await discovered(public, Fetching(http))

    assert words in str(raised.value)
    assert asked == ["https://wiki.example/mcp"]


async def test_no_redirect_is_followed(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:

        async def away(request: Request) -> Response:
            return RedirectResponse(f"{h.by.url}/elsewhere", 307)

        h.by.before = away
        answer = await h.answer(await h.logins.begun(h.server, "alice", "session"))
        with pytest.raises(LoginFailed, match=r"gives no token \(it answers 307\)"):
            await h.come_back("alice", answer)

    assert len(h.by.exchanges) == 1


async def test_an_answer_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        h.by.metadata = {"service_documentation": "https://x.example/" + "x" * 300_000}
        words = await refused(h)

    assert words == "127.0.0.1 answers with more than is read"


async def test_what_an_authorization_server_writes_into_errors_is_not_shown(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:

        async def broken(request: Request) -> Response:
            return JSONResponse({"error": "no\nword <b>", "error_description": "the secret is hunter2"}, 400)

        h.by.before = broken
        answer = await h.answer(await h.logins.begun(h.server, "alice", "session"))
        with pytest.raises(LoginFailed) as raised:
            await h.come_back("alice", answer)

    assert str(raised.value) == "its authorization server gives no token (it answers 400)"


async def test_a_configured_client_is_used_and_none_is_registered(tmp_path: Path) -> None:
    clock = FakeClock()
    settings = {"client_id": "ours", "client_secret": Secret("of-the-client")}
    async with house(tmp_path, clock=clock, **settings) as h:
        back = "http://127.0.0.1:1/back"
        h.by.clients["ours"] = {"client_id": "ours", "client_secret": "of-the-client", "redirect_uris": [back]}
        await h.log_in("alice")
        login = h.logins.login("alice", h.server)
        assert login is not None
        h.by.clients["ours"]["client_secret"] = "another"
        with pytest.raises(LoginFailed, match=r"renews nothing now \(invalid_client\)"):
            await h.logins.renewed("alice", h.server, login)
        kept = h.logins.login("alice", h.server)

    assert list(h.by.clients) == ["ours"]
    assert kept == login  # it is the configuration that is wrong


async def test_tokens_are_for_the_address_that_they_were_issued_for(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        await h.log_in("alice")
        moved = type(h.server)(name="wiki", url=f"{h.server.url}/v2", auth="oauth", allow_private=True)
        async with logins_in(tmp_path, moved, FakeClock()) as (after, _):
            assert after.login("alice", moved) is None
            assert after.login("alice", h.server) is not None


async def test_a_registration_is_made_anew_when_it_has_ended(tmp_path: Path) -> None:
    clock = FakeClock()
    async with house(tmp_path, clock=clock) as h:
        await h.log_in("alice")
        await h.log_in("bob")
        assert len(h.by.clients) == 1
        clock.passed += 31 * 86400
        await h.log_in("carol")

    assert len(h.by.clients) == 2


@pytest.mark.parametrize("methods", [None, ["client_secret_basic"], ["none", "client_secret_post"], ["none"]])
async def test_a_client_says_who_it_is_as_the_authorization_server_wants(
    tmp_path: Path, methods: list[str] | None
) -> None:
    clock = FakeClock()
    async with house(tmp_path, clock=clock) as h:
        h.by.metadata = {"token_endpoint_auth_methods_supported": methods}
        await h.log_in("alice")
        login = h.logins.login("alice", h.server)
        assert login is not None
        renewed = await h.logins.renewed("alice", h.server, login)

    assert renewed.client.method == (methods[-1] if methods else "client_secret_basic")


async def test_headers_of_the_server_go_to_it_and_to_nobody_else(tmp_path: Path) -> None:
    seen: list[Request] = []

    async def note(request: Request) -> None:
        seen.append(request)

    async with house(tmp_path, clock=FakeClock(), headers={"X-Gate": Secret("open-sesame")}) as h:
        h.by.before = note
        await h.log_in("alice")

    asked = [(request.url.path, request.headers.get("x-gate")) for request in h.wiki.requests]
    assert asked[0] == ("/mcp", "open-sesame")
    assert {gate for path, gate in asked[1:]} == {None}
    assert [request.headers.get("x-gate") for request in seen] == [None]


async def test_who_is_asked_is_verified_by_the_authorities_that_were_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=authority.server("localhost")) as there:
        url = f"https://localhost:{there.sockets[0].getsockname()[1]}/mcp"
        server = at(url, auth="oauth")
        async with (
            logins_in(tmp_path, server, ca_bundle=str(authority.root())) as (ours, _),
            logins_in(tmp_path, server) as (others, _),
        ):
            with pytest.raises(LoginFailed, match="nothing says where logins for wiki are made"):
                await ours.begun(server, "alice", "session")
            with pytest.raises(LoginFailed, match="localhost does not answer"):
                await others.begun(server, "alice", "session")

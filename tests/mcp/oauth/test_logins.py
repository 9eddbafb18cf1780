"""Each user's own login at an MCP server: made, used, renewed once, ended; and what is refused on the way."""

import asyncio
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aibridge.database.files import DatabaseFile
from aibridge.mcp import McpToolbox
from aibridge.mcp.oauth.authorization import authorization_of
from aibridge.mcp.oauth.values import LoginFailed
from tests.fakes.clock import FakeClock
from tests.mcp.oauth.logins import House, house, logins_in
from tests.mcp.real_servers import ALICE, BOB, call, names, said

pytestmark = pytest.mark.anyio


def toolbox_of(house: House) -> McpToolbox:
    return McpToolbox([house.server], authorization=authorization_of(house.logins, house.clock), clock=house.clock)


async def test_two_people_use_the_tools_each_with_a_token_of_their_own(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h, toolbox_of(h) as toolbox:
        h.by.person = "alice"
        await h.log_in("alice")
        h.by.person = "bob"
        await h.log_in("bob")
        for identity in (ALICE, BOB):
            toolset = await toolbox.tools(identity)
            result = await toolbox.call(identity, toolset.by_id["bmcp_wiki_read"], call("bmcp_wiki_read"))
            assert said(result) == ["read cats"]
        (alice,) = toolbox.status_for(ALICE.actor)

    shown = {
        request.headers["authorization"].removeprefix("Bearer ")
        for request in h.wiki.requests
        if "authorization" in request.headers
    }
    assert sorted(h.by.access[token] for token in shown) == ["alice", "bob"]
    assert alice.login == "done"
    assert len(h.by.clients) == 1  # we, not each person, are the client


async def test_what_is_asked_for_names_the_server_and_proves_who_asked(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock(), scopes=("read", "write")) as h:
        await h.log_in("alice")

    (asked,), (exchange,) = h.by.authorizations, h.by.exchanges
    assert asked["resource"] == exchange["resource"] == h.server.url
    assert asked["scope"] == "read write"
    assert len(asked["state"]) >= 43
    assert "code_verifier" in exchange
    assert "client_secret" not in exchange  # it is in the header


async def test_without_a_login_nobody_is_asked_and_the_status_says_why(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h, toolbox_of(h) as toolbox:
        toolset = await toolbox.tools(ALICE)
        (status,) = toolbox.status_for(ALICE.actor)

    assert names(toolset) == []
    assert h.wiki.requests == []
    assert status.login == "needed"
    assert status.last_error == "nobody has logged in there for you; log in at http://127.0.0.1:1/wiki/login"


async def test_a_login_that_is_announced_stands_for_the_tools_until_it_is_made(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock(), announce_login=True) as h, toolbox_of(h) as toolbox:
        (announced,) = (await toolbox.tools(ALICE)).tools
        told = await toolbox.call(ALICE, announced, call(announced.id, "{}"))
        await h.log_in("alice")
        after = await toolbox.tools(ALICE)
        told_after = await toolbox.call(ALICE, announced, call(announced.id, "{}"))
        bob = await toolbox.tools(BOB)
        bobs_call = await toolbox.call(BOB, after.tools[0], call(after.tools[0].id))

    assert announced.id == "bmcp_wiki_login"
    assert "http://127.0.0.1:1/wiki/login" in said(told)[0]
    assert told.error is None
    assert names(after) == ["read", "write"]
    assert "has logged in" in said(told_after)[0]
    assert names(bob) == ["login"]
    assert "http://127.0.0.1:1/wiki/login" in said(bobs_call)[0]
    assert h.wiki.calls == []


async def test_many_calls_with_an_ended_token_renew_it_once_in_all_processes(tmp_path: Path) -> None:
    clock = FakeClock()
    async with house(tmp_path, clock=clock) as h:
        await h.log_in("alice")
        clock.passed += 3600
        async with logins_in(tmp_path, h.server, clock) as (others, _):  # another worker has the same file
            ways = [authorization_of(each, clock)(h.server, ALICE) for each in (h.logins, others) for _ in range(10)]
            shown = await asyncio.gather(*(way.header() for way in ways))

    assert [each["grant_type"] for each in h.by.exchanges] == ["authorization_code", "refresh_token"]
    assert len(set(shown)) == 1
    assert h.by.exchanges[1]["resource"] == h.server.url


async def test_a_renewal_is_kept_although_whoever_asked_for_it_has_gone(tmp_path: Path) -> None:
    clock, arrived, go = FakeClock(), asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response | None:
        arrived.set()
        await go.wait()
        return None

    async with house(tmp_path, clock=clock) as h:
        await h.log_in("alice")
        clock.passed += 3600
        h.by.before = slow
        waiting = asyncio.create_task(authorization_of(h.logins, clock)(h.server, ALICE).header())
        await asyncio.wait_for(arrived.wait(), 10)
        waiting.cancel()
        await asyncio.wait([waiting])
        go.set()
        again = await authorization_of(h.logins, clock)(h.server, ALICE).header()

    assert waiting.cancelled()
    assert again == f"Bearer {list(h.by.access)[-1]}"
    assert len(h.by.exchanges) == 2


async def test_a_token_that_the_server_refuses_is_renewed_for_the_same_request(tmp_path: Path) -> None:
    clock = FakeClock()
    async with house(tmp_path, clock=clock) as h, toolbox_of(h) as toolbox:
        await h.log_in("alice")
        clock.passed += 60
        h.by.access.clear()
        toolset = await toolbox.tools(ALICE)

    assert names(toolset) == ["read", "write"]
    assert [each["grant_type"] for each in h.by.exchanges] == ["authorization_code", "refresh_token"]


async def test_a_login_that_was_ended_elsewhere_is_gone_and_says_so(tmp_path: Path) -> None:
    clock = FakeClock()
    async with house(tmp_path, clock=clock) as h, toolbox_of(h) as toolbox:
        await h.log_in("alice")
        tools = (await toolbox.tools(ALICE)).tools
        h.by.end_all()
        clock.passed += 60
        result = await toolbox.call(ALICE, tools[0], call(tools[0].id))
        after = await toolbox.tools(ALICE)
        kept = h.logins.login("alice", h.server)
        h.by.person = "alice"
        await h.log_in("alice")
        again = await toolbox.tools(ALICE)

    assert "http://127.0.0.1:1/wiki/login" in said(result)[0]
    assert names(after) == []
    assert kept is None
    assert names(again) == ["read", "write"]


async def test_a_renewal_that_cannot_be_made_now_costs_no_login(tmp_path: Path) -> None:
    clock = FakeClock()

    async def broken(request: Request) -> Response:
        return JSONResponse({"error": "temporarily_unavailable", "error_description": "secret words"}, 503)

    async with house(tmp_path, clock=clock) as h:
        await h.log_in("alice")
        h.by.before = broken
        clock.passed += 3580
        way = authorization_of(h.logins, clock)(h.server, ALICE)
        soon_over = await way.header()
        clock.passed += 60
        with pytest.raises(Exception, match=r"cannot be renewed now: .*\(temporarily_unavailable\)") as raised:
            await way.header()
        h.by.before = None
        later = await way.header()

    assert soon_over == f"Bearer {next(iter(h.by.access))}"
    assert "secret words" not in str(raised.value)
    assert later == f"Bearer {list(h.by.access)[-1]}"


def take_no_logins(file: DatabaseFile) -> None:
    """As a full disk does."""
    with file.writing() as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON aibridge_mcp_logins BEGIN SELECT RAISE(FAIL, 'full'); END"
        )


async def test_a_renewal_that_the_disk_does_not_take_is_used_and_kept_later(tmp_path: Path) -> None:
    clock = FakeClock()
    async with house(tmp_path, clock=clock) as h:
        await h.log_in("alice")
        take_no_logins(h.file)
        clock.passed += 3600
        way = authorization_of(h.logins, clock)(h.server, ALICE)
        first, second = await way.header(), await way.header()
        async with logins_in(tmp_path, h.server, clock) as (others, _):
            before = others.login("alice", h.server)
            with h.file.writing() as connection:
                connection.execute("DROP TRIGGER full")
            third = await way.header()
            after = others.login("alice", h.server)

    newest = list(h.by.access)[-1]
    assert first == second == third == f"Bearer {newest}"
    assert before is not None
    assert before.access_token != newest
    assert after is not None
    assert after.access_token == newest
    assert len(h.by.exchanges) == 2


async def test_what_the_disk_did_not_take_ends_with_the_login(tmp_path: Path) -> None:
    clock = FakeClock()
    async with house(tmp_path, clock=clock) as h:
        await h.log_in("alice")
        take_no_logins(h.file)
        clock.passed += 3600
        way = authorization_of(h.logins, clock)(h.server, ALICE)
        await way.header()
        async with logins_in(tmp_path, h.server, clock) as (others, _):
            await others.forgotten("alice", h.server)
            missing = way.missing()
            with h.file.writing() as connection:
                connection.execute("DROP TRIGGER full")
            url = await others.begun(h.server, "alice", "session")
            back = await h.answer(url)
            await others.finished("alice", "session", state=back["state"], code=back["code"], issuer=back["iss"])
        clock.passed += 3600
        after = await way.header()

    assert missing is not None
    assert after == f"Bearer {list(h.by.access)[-1]}"
    assert [each["grant_type"] for each in h.by.exchanges][2:] == ["authorization_code", "refresh_token"]


async def test_logging_out_forgets_the_tokens_and_takes_them_back(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        await h.log_in("alice")
        first = await h.logins.forgotten("alice", h.server)
        second = await h.logins.forgotten("alice", h.server)

    assert (first, second) == ((True, True), (False, False))
    assert [each["token_type_hint"] for each in h.by.revocations] == ["refresh_token"]
    assert h.by.refresh == {}


# -- the way back --------------------------------------------------------------------------------------


async def test_a_state_is_good_once(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        answer = await h.answer(await h.logins.begun(h.server, "alice", "session"))
        await h.come_back("alice", answer)
        with pytest.raises(LoginFailed, match="ended already"):
            await h.come_back("alice", answer)

    assert len(h.by.exchanges) == 1


async def test_a_state_that_somebody_made_up_is_none(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        with pytest.raises(LoginFailed, match="ended already"):
            await h.come_back("alice", {"state": "made-up", "code": "x", "iss": h.by.url})

    assert h.by.exchanges == []


async def test_a_state_is_good_for_ten_minutes(tmp_path: Path) -> None:
    clock = FakeClock()
    async with house(tmp_path, clock=clock) as h:
        answer = await h.answer(await h.logins.begun(h.server, "alice", "session"))
        clock.passed += 600
        with pytest.raises(LoginFailed, match="ten minutes"):
            await h.come_back("alice", answer)

    assert h.by.exchanges == []


@pytest.mark.parametrize(("actor", "session"), [("bob", "session"), ("alice", "another browser")])
async def test_a_state_is_for_the_person_and_the_browser_that_began(tmp_path: Path, actor: str, session: str) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        answer = await h.answer(await h.logins.begun(h.server, "alice", "session"))
        with pytest.raises(LoginFailed, match="somebody else, or in another browser"):
            await h.come_back(actor, answer, session)
        with pytest.raises(LoginFailed, match="ended already"):  # who tried it has spent it
            await h.come_back("alice", answer)

    assert h.by.exchanges == []


@pytest.mark.parametrize("issuer", ["https://other.example", ""])
async def test_an_answer_of_another_authorization_server_is_refused(tmp_path: Path, issuer: str) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        h.by.answer = {"iss": issuer}
        answer = await h.answer(await h.logins.begun(h.server, "alice", "session"))
        with pytest.raises(LoginFailed, match="another authorization server"):
            await h.come_back("alice", answer)

    assert h.by.exchanges == []


async def test_who_is_not_let_in_has_no_login(tmp_path: Path) -> None:
    async with house(tmp_path, clock=FakeClock()) as h:
        h.by.answer = {"code": "", "error": "access_denied"}
        answer = await h.answer(await h.logins.begun(h.server, "alice", "session"))
        with pytest.raises(LoginFailed, match="did not let you in"):
            await h.come_back("alice", answer)

    assert h.logins.servers == {"wiki": h.server}
    assert h.by.exchanges == []

"""Servers that are asked with the token that a person came with: whose audience names them, and no other."""

import asyncio

import mcp_types as types
import pytest

from aibridge.mcp.authorization import fixed_authorization
from tests.mcp.caller.protected import ADA, BOB, house, offered
from tests.mcp.real_servers import call, names, said, text

pytestmark = pytest.mark.anyio

ID = "bmcp_tracker_read"


async def test_two_people_get_their_own_rights_by_their_own_tokens() -> None:
    async with house() as h:
        adas = h.comes(ADA, h.server.resource, scope="read write")
        bobs = h.comes(BOB, h.server.resource)
        for_ada, for_bob = await asyncio.gather(h.toolbox.tools(ADA), h.toolbox.tools(BOB))
        tool = for_bob.tools[0]
        results = await asyncio.gather(*(h.toolbox.call(who, tool, call(ID)) for who in (ADA, BOB, ADA, BOB)))

    assert names(for_ada) == ["read", "write"]
    assert names(for_bob) == ["read"]
    assert [said(result)[0] for result in results] == ["read as sub-ada", "read as sub-bob"] * 2
    assert set(h.tracker.shown) == {adas, bobs}


async def test_a_token_for_the_gateway_alone_is_never_sent() -> None:
    async with house() as h:
        h.comes(ADA)
        h.comes(ADA, "https://another.example/mcp")
        toolset = await h.toolbox.tools(ADA)
        (status,) = h.toolbox.status_for(ADA.actor)
        (general,) = h.toolbox.status()

    assert names(toolset) == []
    assert h.tracker.requests == []
    assert status.last_error == (
        f'your token is not for this server: the audience ("aud") of your token must name {h.server.resource}; '
        "ask for one that does, at your identity provider"
    )
    assert (status.login, status.tools, general.last_error) == (None, (), None)


async def test_whoever_has_no_token_is_told_so_and_their_model_too_where_that_is_wished() -> None:
    async with house(announce_login=True) as h:
        toolset = await h.toolbox.tools(ADA)
        (tool,) = toolset.tools
        before = await h.toolbox.call(ADA, tool, call(tool.id, "{}"))
        h.comes(ADA, h.server.resource)
        after = await h.toolbox.call(ADA, tool, call(tool.id, "{}"))
        then = await h.toolbox.tools(ADA)

    assert tool.id == "bmcp_tracker_login"
    assert "link" not in tool.description
    assert "a gateway key is shown to no other server" in said(before)[0]
    assert f"must name {h.server.resource}" in said(before)[0]
    assert "http" not in said(before)[0].replace(h.server.resource, "")
    assert "let in now" in said(after)[0]
    assert names(then) == ["read"]


async def test_a_token_that_came_while_a_session_lives_is_the_one_that_counts() -> None:
    async with house() as h:
        h.comes(ADA, h.server.resource)
        before = await h.toolbox.tools(ADA)
        newer = h.comes(ADA, h.server.resource, scope="read write", jti="newer")
        more = await offered(h, ADA, "read", "write")
        result = await h.toolbox.call(ADA, before.tools[0], call(ID))
        (status,) = h.toolbox.status()

    assert names(before) == ["read"]
    assert more
    assert said(result) == ["read as sub-ada"]
    assert h.tracker.shown[-1] == newer
    assert status.sessions == 1


async def test_once_a_token_has_ended_its_person_is_not_let_in_and_with_a_new_one_at_once() -> None:
    async with house() as h:
        h.comes(ADA, h.server.resource, life=60)
        before = await h.toolbox.tools(ADA)
        h.clock.passed += 60
        ended = await h.toolbox.tools(ADA)
        refused = await h.toolbox.call(ADA, before.tools[0], call(ID))
        shown = len(h.tracker.shown)
        new = h.comes(ADA, h.server.resource, jti="new")
        after = await h.toolbox.tools(ADA)
        result = await h.toolbox.call(ADA, after.tools[0], call(ID))

    assert (names(before), names(ended), names(after)) == (["read"], [], ["read"])
    assert refused.error is not None
    assert "it has ended" in refused.error
    assert said(result) == ["read as sub-ada"]
    assert (shown, h.tracker.shown[1:]) == (1, [new])


async def test_who_was_refused_does_not_wait_with_a_newer_token() -> None:
    async with house() as h:
        h.tracker.refuses.add(h.comes(ADA, h.server.resource))
        refused = await h.toolbox.tools(ADA)
        again = await h.toolbox.tools(ADA)
        lists = h.tracker.lists
        h.comes(ADA, h.server.resource, jti="newer")
        after = await h.toolbox.tools(ADA)

    assert (names(refused), names(again), lists) == ([], [], 0)
    assert names(after) == ["read"]


async def test_what_a_server_repeats_of_a_token_is_taken_out() -> None:
    async with house() as h:
        token = h.comes(ADA, h.server.resource)

        async def careless(_: dict[str, object]) -> types.CallToolResult:
            return text(f"you sent {token}", error=True)

        h.tracker.answers["read"] = careless
        toolset = await h.toolbox.tools(ADA)
        result = await h.toolbox.call(ADA, toolset.tools[0], call(ID))

    assert said(result) == ["you sent [redacted]"]


async def test_another_audience_is_what_is_configured() -> None:
    async with house(audience="tracker") as h:
        h.comes(ADA, h.server.resource)
        by_uri = await h.toolbox.tools(ADA)
        h.comes(ADA, "tracker")
        by_name = await h.toolbox.tools(ADA)

    assert (names(by_uri), names(by_name)) == ([], ["read"])


async def test_a_server_without_it_is_not_shown_anybodys_token() -> None:
    async with house() as h:
        h.comes(ADA, "https://wiki.example/mcp")
        header = await fixed_authorization(h.server, ADA).header()

    assert header is None

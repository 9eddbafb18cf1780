"""The toolbox with real servers: every era and transport, lists, calls, and whose session is whose."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from aibridge.credentials import Secret
from aibridge.mcp import McpToolbox
from aibridge.tools import NO_TOOLS
from tests.mcp.real_servers import ALICE, BOB, Era, Wiki, at, call, names, said, serving, text, tool
from tests.waiting import until

pytestmark = pytest.mark.anyio

ERAS: tuple[Era, ...] = ("modern", "sessions", "stateless", "sse")


@pytest.mark.parametrize("era", ERAS)
async def test_tools_of_every_era_are_listed_and_called(era: Era) -> None:
    wiki = Wiki()
    async with serving(wiki, era) as url, McpToolbox([at(url)]) as toolbox:
        toolset = await toolbox.tools(ALICE)
        result = await toolbox.call(ALICE, toolset.by_id["bmcp_wiki_read"], call("bmcp_wiki_read"))
        (status,) = toolbox.status()

    assert [each.id for each in toolset.tools] == ["bmcp_wiki_read", "bmcp_wiki_write"]
    assert (said(result), result.error, result.call_id) == (["read cats"], None, "call-1")
    assert wiki.calls == [("read", {"topic": "cats"})]
    assert (status.state, status.sessions) == ("up", 1)
    assert status.transport == ("sse" if era == "sse" else "streamable_http")
    assert status.protocol_version == ("2026-07-28" if era in ("modern", "sse") else "2025-11-25")


@pytest.mark.parametrize("era", ["modern", "sessions"])
async def test_servers_that_answer_with_one_json_body_work_too(era: Era) -> None:
    async with serving(Wiki(), era, json_response=True) as url, McpToolbox([at(url)]) as toolbox:
        toolset = await toolbox.tools(ALICE)
        result = await toolbox.call(ALICE, toolset.tools[0], call(toolset.tools[0].id))

    assert said(result) == ["read cats"]


async def test_the_same_list_gives_the_same_object_to_everybody() -> None:
    wiki = Wiki()
    async with serving(wiki) as url, McpToolbox([at(url)]) as toolbox:
        first, again, other = await toolbox.tools(ALICE), await toolbox.tools(ALICE), await toolbox.tools(BOB)

    assert first is again
    assert first is other
    assert wiki.lists == 2  # each person's own session, each once


async def test_a_schema_reaches_models_whole_and_in_the_servers_order() -> None:
    odd = {"properties": {"z": {"enum": [1, 1.0, "a"], "x-own": {"b": 1, "a": None}}}, "$defs": {"y": {}}}
    wiki = Wiki(tool("odd", schema={"type": "object", **odd}), tool("bare", schema={"type": "object"}))
    async with serving(wiki) as url, McpToolbox([at(url)]) as toolbox:
        bare, whole = (await toolbox.tools(ALICE)).tools

    assert bare.schema == b'{"type":"object"}'
    assert whole.schema == (
        b'{"type":"object","properties":{"z":{"enum":[1,1.0,"a"],"x-own":{"b":1,"a":null}}},"$defs":{"y":{}}}'
    )


async def test_all_pages_of_a_list_are_read() -> None:
    wiki = Wiki(*(tool(f"t{number:03}") for number in range(25)), page=10)
    async with serving(wiki) as url, McpToolbox([at(url)]) as toolbox:
        toolset = await toolbox.tools(ALICE)

    assert names(toolset) == [f"t{number:03}" for number in range(25)]
    assert wiki.lists == 3


async def test_tools_of_several_servers_stand_sorted_in_one_table() -> None:
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(serving(Wiki(), era)) for era in ERAS]
        servers = [at(url, name) for url, name in zip(urls, ("delta", "alpha", "charlie", "bravo"), strict=True)]
        toolbox = await stack.enter_async_context(McpToolbox(servers))
        toolset = await toolbox.tools(ALICE)

    ids = [each.id for each in toolset.tools]
    assert ids == sorted(ids)
    assert {each.server for each in toolset.tools} == {"alpha", "bravo", "charlie", "delta"}
    assert len(ids) == 8


async def test_patterns_are_searched_for_in_the_servers_own_names_and_deny_beats_allow() -> None:
    wiki = Wiki(tool("create_gist"), tool("list_gists"), tool("List_Gists"), tool("whoami"))
    async with (
        serving(wiki) as url,
        McpToolbox([at(url, allow_tools=".+_gist.*", deny_tools="create_gist")]) as toolbox,
    ):
        toolset = await toolbox.tools(ALICE)
        (status,) = toolbox.status()

    assert names(toolset) == ["list_gists"]
    assert {each.name: each.why for each in status.left_out} == {
        "create_gist": "denied by deny_tools",
        "List_Gists": "not allowed by allow_tools",
        "whoami": "not allowed by allow_tools",
    }


async def test_a_server_for_a_group_is_there_for_its_members_only() -> None:
    wiki = Wiki()
    async with serving(wiki) as url, McpToolbox([at(url, groups=("people", "more"))]) as toolbox:
        members, strangers = await toolbox.tools(ALICE), await toolbox.tools(BOB)
        result = await toolbox.call(BOB, members.tools[0], call(members.tools[0].id))

    assert len(members.tools) == 2
    assert strangers is NO_TOOLS
    assert result.error == "there is no such tool"
    assert wiki.calls == []


async def test_a_token_and_headers_go_with_each_request_of_that_server() -> None:
    wiki, other = Wiki(), Wiki()
    async with serving(wiki, "sessions") as url, serving(other) as other_url:
        secret = at(url, auth="token", token=Secret("tok-1"), headers={"X-Tenant": Secret("t-1")})
        async with McpToolbox([secret, at(other_url, "other")]) as toolbox:
            toolset = await toolbox.tools(ALICE)
            await toolbox.call(ALICE, toolset.by_id["bmcp_wiki_read"], call("bmcp_wiki_read"))

    assert {request.headers.get("authorization") for request in wiki.requests} == {"Bearer tok-1"}
    assert {request.headers.get("x-tenant") for request in wiki.requests} == {"t-1"}
    assert {request.headers.get("authorization") for request in other.requests} == {None}


async def test_calls_at_the_same_time_share_a_session() -> None:
    wiki, both = Wiki(), asyncio.Barrier(2)

    async def together(_: object) -> object:
        async with asyncio.timeout(5):
            await both.wait()
        return text("met")

    wiki.answers["read"] = together  # type: ignore[assignment]  # what it gives is what a test says it does
    async with serving(wiki, "sessions") as url, McpToolbox([at(url)]) as toolbox:
        read = (await toolbox.tools(ALICE)).by_id["bmcp_wiki_read"]
        results = await asyncio.gather(*(toolbox.call(ALICE, read, call(read.id)) for _ in range(2)))
        (status,) = toolbox.status()

    assert [said(result) for result in results] == [["met"], ["met"]]
    assert status.sessions == 1


@pytest.mark.parametrize("era", ["modern", "sessions"])
async def test_leaving_the_toolbox_ends_its_sessions(era: Era) -> None:
    wiki = Wiki()
    async with serving(wiki, era) as url:
        async with McpToolbox([at(url)]) as toolbox:
            await toolbox.tools(ALICE)
        (status,) = toolbox.status()
        later = await toolbox.tools(ALICE)

    assert status.sessions == 0
    assert later is NO_TOOLS
    assert ("DELETE" in {request.method for request in wiki.requests}) is (era == "sessions")


async def test_a_connection_that_nobody_uses_is_closed_and_its_list_stays() -> None:
    wiki = Wiki()
    async with serving(wiki) as url, McpToolbox([at(url)], idle=0.0) as toolbox:
        before = await toolbox.tools(ALICE)
        await until(lambda: toolbox.status()[0].sessions == 0)
        after = await toolbox.tools(ALICE)
        result = await toolbox.call(ALICE, after.tools[0], call(after.tools[0].id))

    assert before is after
    assert said(result) == ["read cats"]

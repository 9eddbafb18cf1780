"""Servers come, go and change while a toolbox is open; the others notice nothing, and calls that run end well."""

import asyncio
from typing import Any

import mcp_types as types
import pytest

from aibridge.mcp import McpToolbox
from tests.mcp.real_servers import ALICE, Wiki, at, call, names, no_task_runs, said, serving, text, tool
from tests.waiting import until

pytestmark = pytest.mark.anyio


async def test_a_server_that_stays_keeps_its_session_while_others_come_and_go() -> None:
    wiki, books = Wiki(), Wiki(tool("lend"))
    async with serving(wiki) as url, serving(books) as other, McpToolbox([at(url)]) as toolbox:
        before = names(await toolbox.tools(ALICE))
        toolbox.reconfigure([at(url), at(other, "books")])
        with_both = names(await toolbox.tools(ALICE))
        toolbox.reconfigure([at(url)])
        after, lists = await toolbox.tools(ALICE), wiki.lists
        result = await toolbox.call(ALICE, after.by_id["bmcp_wiki_read"], call("bmcp_wiki_read"))
        statuses = [status.name for status in toolbox.status()]

    assert (before, with_both, names(after)) == (["read", "write"], ["lend", "read", "write"], ["read", "write"])
    assert said(result) == ["read cats"]
    assert lists == 1
    assert statuses == ["wiki"]


async def test_a_server_that_was_changed_is_asked_anew() -> None:
    wiki = Wiki()
    async with serving(wiki) as url, McpToolbox([at(url)]) as toolbox:
        await toolbox.tools(ALICE)
        toolbox.reconfigure([at(url, deny_tools="write")])
        toolset = await toolbox.tools(ALICE)

    assert names(toolset) == ["read"]
    assert wiki.lists == 2


async def test_a_call_to_a_server_that_is_taken_away_ends_well_and_then_its_connection() -> None:
    wiki, gate, begun = Wiki(), asyncio.Event(), asyncio.Event()

    async def slow(_: dict[str, Any]) -> types.CallToolResult:
        begun.set()
        await gate.wait()
        return text("at last")

    wiki.answers["read"] = slow
    async with serving(wiki) as url, McpToolbox([at(url)]) as toolbox:
        offered = (await toolbox.tools(ALICE)).by_id["bmcp_wiki_read"]
        calling = asyncio.create_task(toolbox.call(ALICE, offered, call(offered.id)))
        await asyncio.wait_for(begun.wait(), 5)
        toolbox.reconfigure([])
        late = await toolbox.call(ALICE, offered, call(offered.id))
        nothing = await toolbox.tools(ALICE)
        gate.set()
        result = await asyncio.wait_for(calling, 5)
        await until(lambda: no_task_runs(toolbox))

    assert said(result) == ["at last"]
    assert late.error == "there is no such tool"
    assert names(nothing) == []


async def test_two_servers_of_one_name_change_nothing() -> None:
    async with serving(Wiki()) as url, McpToolbox([at(url)]) as toolbox:
        with pytest.raises(ValueError, match="the same name"):
            toolbox.reconfigure([at(url), at(url)])

        assert names(await toolbox.tools(ALICE)) == ["read", "write"]

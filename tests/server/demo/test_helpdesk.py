"""The demo's MCP server, asked through the toolbox: what it knows, and that it says so where it knows nothing."""

import pytest

from aibridge.mcp import McpServer, McpToolbox
from aibridge.server.demo.helpdesk import NAME, served_helpdesk
from tests.mcp.real_servers import ALICE, call, names, said

pytestmark = pytest.mark.anyio


async def test_it_lists_its_tools_and_answers_the_same_each_time() -> None:
    async with served_helpdesk() as (url, _), McpToolbox([McpServer(name=NAME, url=url, allow_private=True)]) as tools:
        toolset = await tools.tools(ALICE)
        asked = {
            arguments: await tools.call(ALICE, toolset.by_id[tool], call(tool, arguments))
            for tool, arguments in (
                ("bmcp_helpdesk_find_ticket", '{"number": 17}'),
                ("bmcp_helpdesk_find_person", '{"name": "Grace Hopper"}'),
                ("bmcp_helpdesk_find_ticket", '{"number": 18}'),
                ("bmcp_helpdesk_find_person", '{"name": "Nobody"}'),
            )
        }

    assert names(toolset) == ["find_person", "find_ticket"]
    assert [(" ".join(said(result)), result.error) for result in asked.values()] == [
        ("Ticket 17: The printer on floor 3 is out of toner. It is open, assigned to Grace Hopper.", None),
        ("Grace Hopper sits on floor 3, room 3.14, extension 314.", None),
        ("The helpdesk knows no such ticket.", "The helpdesk knows no such ticket."),
        ("The helpdesk knows no such person.", "The helpdesk knows no such person."),
    ]

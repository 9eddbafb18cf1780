"""A toolbox whose tools do what a test says."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aibridge.ports import Identity
from aibridge.tools import Text, Tool, ToolCall, ToolResult, Toolset

Does: TypeAlias = Callable[[ToolCall], Awaitable[ToolResult]]

WIKI = "https://wiki.test/mcp?key=sesame"


def tool(name: str, server: str = "wiki") -> Tool:
    schema = b'{"type":"object","properties":{"q":{"type":"string"}}}'
    return Tool(id=f"bmcp_{server}_{name}", name=name, server=server, server_url=WIKI, schema=schema)


def result_of(call: ToolCall, text: str | None = None, error: str | None = None) -> ToolResult:
    return ToolResult(call_id=call.call_id, content=(Text(text or f"result of {call.call_id}"),), error=error)


async def answers(call: ToolCall) -> ToolResult:
    return result_of(call)


async def fails(call: ToolCall) -> ToolResult:
    return result_of(call, "no such page", "isError")


async def hangs(call: ToolCall) -> ToolResult:
    await asyncio.Event().wait()
    return result_of(call)


async def breaks(call: ToolCall) -> ToolResult:
    raise ZeroDivisionError(call.call_id)


class ScriptedToolbox:
    """Offers `search` and `read` of a server called wiki; `does` says by name what else than answering they do."""

    def __init__(self, *tools: Tool) -> None:
        self.toolset = Toolset(tools or (tool("search"), tool("read")))
        self.does: dict[str, Does] = {}
        self.calls: list[tuple[str, ToolCall]] = []
        self.asked: list[str] = []
        self.running = 0
        self.most_running = 0

    async def tools(self, identity: Identity) -> Toolset:
        self.asked.append(identity.actor.id)
        await asyncio.sleep(0)
        return self.toolset

    async def call(self, identity: Identity, tool: Tool, call: ToolCall) -> ToolResult:
        self.calls.append((identity.actor.id, call))
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await asyncio.sleep(0)
            return await self.does.get(tool.name, answers)(call)
        finally:
            self.running -= 1

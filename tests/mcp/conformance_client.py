"""The toolbox as the client that the MCP conformance suite starts: `python conformance_client.py URL`.

Lists the tools and calls each once, with the arguments of the suite's own scenarios.
"""

import asyncio
import sys

from aibridge.mcp import McpServer, McpToolbox
from tests.mcp.real_servers import ALICE, call

ARGUMENTS = {"add_numbers": '{"a": 5, "b": 3}'}


async def main(url: str) -> int:
    async with McpToolbox([McpServer(name="suite", url=url, allow_private=True)], patience=20.0) as toolbox:
        toolset = await toolbox.tools(ALICE)
        results = [
            await toolbox.call(ALICE, tool, call(tool.id, ARGUMENTS.get(tool.name, "{}"))) for tool in toolset.tools
        ]
        (status,) = toolbox.status()
    failures = [result.error for result in results if result.error is not None]
    sys.stderr.write(f"{status.state} {status.protocol_version} {status.last_error} {failures}\n")
    return 1 if failures or status.state != "up" else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[-1])))

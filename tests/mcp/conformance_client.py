"""The toolbox as the client that the MCP conformance suite starts: `python -m tests.mcp.conformance_client URL`.

Lists the tools and calls each once, with the arguments of the suite's own scenarios. Where the scenario is about logins
it logs in first, as a person's browser would; the suite says the scenario, and a client that it has registered, in
variables.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx2

from aibridge.clock import SystemClock
from aibridge.credentials import Secret
from aibridge.mcp import McpServer, McpToolbox
from aibridge.mcp.oauth.authorization import authorization_of
from aibridge.mcp.oauth.logins import Logins
from tests.mcp.oauth.logins import logins_in
from tests.mcp.real_servers import ALICE, call

ARGUMENTS = {"add_numbers": '{"a": 5, "b": 3}'}


async def main(url: str) -> int:
    given: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    settings: dict[str, Any] = {}
    wants_login = os.environ.get("MCP_CONFORMANCE_SCENARIO", "").startswith("auth/")
    if wants_login:
        settings["auth"] = "oauth"
    if "client_id" in given:
        settings["client_id"] = given["client_id"]
    if "client_secret" in given:
        settings["client_secret"] = Secret(given["client_secret"])
    server = McpServer(name="suite", url=url, allow_private=True, **settings)
    if not wants_login:
        async with McpToolbox([server], patience=20.0) as toolbox:
            return await use(toolbox)
    with tempfile.TemporaryDirectory() as folder:
        async with logins_in(Path(folder), server) as (logins, _):
            await log_in(logins, server)
            authorization = authorization_of(logins, SystemClock())
            async with McpToolbox([server], authorization=authorization, patience=20.0) as toolbox:
                return await use(toolbox)


async def log_in(logins: Logins, server: McpServer) -> None:
    async with httpx2.AsyncClient(trust_env=False) as browser:
        response = await browser.get(await logins.begun(server, ALICE.actor.id, "session"))
    answer = httpx2.URL(response.headers["location"]).params
    await logins.finished(
        ALICE.actor.id, "session", state=answer["state"], code=answer.get("code"), issuer=answer.get("iss")
    )


async def use(toolbox: McpToolbox) -> int:
    toolset = await toolbox.tools(ALICE)
    results = [await toolbox.call(ALICE, tool, call(tool.id, ARGUMENTS.get(tool.name, "{}"))) for tool in toolset.tools]
    (status,) = toolbox.status()
    failures = [result.error for result in results if result.error is not None]
    sys.stderr.write(f"{status.state} {status.protocol_version} {status.last_error} {failures}\n")
    return 1 if failures or status.state != "up" else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[-1])))

"""The client side of the protocol's conformance suite: the scenarios that apply to a client which logs in, lists and calls."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.mcp.npm import programs

pytestmark = [pytest.mark.anyio, pytest.mark.agents]

CHECKOUT = Path(__file__).resolve().parents[2]
BOUND = 60.0  # seconds; a scenario takes three when the machine is free
# docs/reference/mcp-conformance.md says why others are not here.
SCENARIOS = (
    "initialize",
    "tools_call",
    "sse-retry",
    "auth/metadata-default",
    "auth/metadata-var1",
    "auth/metadata-var2",
    "auth/metadata-var3",
    "auth/scope-from-www-authenticate",
    "auth/scope-from-scopes-supported",
    "auth/scope-omitted-when-undefined",
    "auth/scope-retry-limit",
    "auth/token-endpoint-auth-basic",
    "auth/token-endpoint-auth-post",
    "auth/token-endpoint-auth-none",
    "auth/pre-registration",
    "auth/resource-mismatch",
    "auth/offline-access-scope",
    "auth/offline-access-not-supported",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite needs Node 22, which npm has as a package."""
    wanted = {"conformance": "@modelcontextprotocol/conformance@latest", "node": "node@22"}
    return programs(tmp_path_factory.mktemp("conformance"), wanted)


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_the_toolbox_is_a_client_as_the_protocol_has_it(folder: Path, scenario: str, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(folder / "conformance", "client", "--scenario", scenario),
        *("--command", f"{sys.executable} -m tests.mcp.conformance_client"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=CHECKOUT,
        env={
            "PATH": f"{folder}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "NO_COLOR": "1",
            "LANG": os.environ.get("LANG", "C"),
        },
    )
    try:
        async with asyncio.timeout(BOUND):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert process.returncode == 0, said.decode()[-2000:]
    assert "0 failed" in said.decode()

"""The client side of the protocol's conformance suite: the scenarios that apply to a client which only lists and calls."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.mcp.npm import programs

pytestmark = [pytest.mark.anyio, pytest.mark.agents]

CHECKOUT = Path(__file__).resolve().parents[2]
BOUND = 60.0  # seconds; a scenario takes three when the machine is free
# Those that are not here want a login (auth/...) or somebody to ask (elicitation-...).
SCENARIOS = ("initialize", "tools_call", "sse-retry")


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

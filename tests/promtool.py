"""Prometheus' own judge of metrics and rules (Debian's package `prometheus`); CI installs it."""

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.server.installation import BOUND

_CHECKOUT = Path(__file__).resolve().parents[1]


async def promtool(*words: str, given: str = "") -> str:
    """What it says, in the checkout, of what it is given. Fails when it refuses that; skips where it is not installed."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed")
    process = await asyncio.create_subprocess_exec(
        tool,
        *words,
        cwd=_CHECKOUT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(BOUND):
        said, _ = await process.communicate(given.encode())
    assert process.returncode == 0, said.decode()
    return said.decode()

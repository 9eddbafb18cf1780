"""What most tests of the product start from: nothing is configured yet."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from tests.server.installation import Installation


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    """`aibridge` in a folder of its own, with a simulated provider behind it."""
    provider = SimulatedProvider()
    async with serve_simulator(provider) as provider_url:
        yield Installation(tmp_path, provider, provider_url)

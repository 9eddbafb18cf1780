"""The way out is tried on both event loops: asyncio's own, which a host may run, and uvloop, which the server runs."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from aibridge.upstream import HttpUpstream


@pytest.fixture(
    scope="session",
    params=[("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})],
    ids=["asyncio", "uvloop"],
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def upstream() -> AsyncIterator[HttpUpstream]:
    upstream = HttpUpstream()
    yield upstream
    await upstream.close()

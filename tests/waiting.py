"""Bounded waits for what nobody announces."""

import asyncio
from collections.abc import Callable

BOUND = 5.0  # seconds; nothing that is waited for takes one


async def until(claim: Callable[[], bool], bound: float = BOUND) -> None:
    """Lets the loop run until the claim holds."""
    async with asyncio.timeout(bound):
        while not claim():  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0)


async def settled() -> None:
    """Lets everything go on that can go on without anybody from outside."""
    for _ in range(50):
        await asyncio.sleep(0)

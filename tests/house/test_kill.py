"""`kill -9` of the whole product under load, again and again: nothing lost, nothing doubled, everything ends.

The provider's own ledger is the truth that the records are compared with. `--kills 500` is the long form.
"""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import time
from pathlib import Path

import pytest

from tests.house import books
from tests.house.load import Load, ready
from tests.house.product import BOUND, House, end, house, provider

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

USERS = 12
PACE = 0.001  # seconds between the events of a stream
RECOVERY = 3.0  # seconds from the start of a process to its being ready, the end of what was left open included


async def killed_at_some_moment(process: asyncio.subprocess.Process, load: Load, chance: random.Random) -> None:
    """Kills it after some answers and some milliseconds."""
    await load.more_answers(chance.randint(5, 60))
    asyncio.get_running_loop().call_later(chance.uniform(0, 0.05), process.send_signal, signal.SIGKILL)
    async with asyncio.timeout(BOUND):
        assert await process.wait() == -signal.SIGKILL


async def started(own: House, *flags: str) -> tuple[asyncio.subprocess.Process, float]:
    """A gateway that serves, and how many seconds that took. What dead ones had left open has ended by then."""
    before = time.monotonic()
    process = await own.serve(*flags)
    try:
        await ready(own.port, process)
        took = time.monotonic() - before
        assert books.left_open(own.database) == 0
    except BaseException:
        await end(process, signal.SIGKILL)
        raise
    return process, took


async def test_nothing_is_lost_or_doubled_however_often_the_gateway_is_killed(
    tmp_path: Path, seed: int, kills: int
) -> None:
    chance = random.Random(seed)
    starts: list[float] = []
    async with provider(tmp_path, pace=PACE) as (upstream, ledger), house(tmp_path, upstream) as own:
        load = Load(own.port, await own.key(), chance)
        process, _ = await started(own)
        try:
            async with load.users(USERS):
                for _ in range(kills):
                    await killed_at_some_moment(process, load, chance)
                    process, took = await started(own)
                    starts.append(took)
                await load.more_answers(USERS)
            status = await end(process, signal.SIGTERM)
        finally:
            await end(process, signal.SIGKILL)
        found = books.read(own.database, ledger)

    books.check(found, load.asked)
    settled = sum(each.settled for each in load.asked)
    states = found.states()
    told = f"{kills} kills, {len(found.served)} served, {settled} settled, {dict(states)}, slowest start {max(starts):.1f} s"
    print(told)  # noqa: T201  shown with -s, and when the test fails
    assert status == 0
    assert states.keys() == {"completed", "recovered"}
    assert states["recovered"] >= kills  # else it was not under load that it was killed
    assert settled >= 5 * kills
    assert statistics.median(starts) <= RECOVERY
    assert books.rows(own.database, "PRAGMA integrity_check") == [("ok",)]
    assert "Traceback" not in own.log

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
from tests.house.load import Asked, Load, ready, request
from tests.house.product import BOUND, House, end, house, provider
from tests.waiting import until

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


async def test_what_a_person_asked_is_on_record_when_the_gateway_dies_in_the_midst_of_the_answer(
    tmp_path: Path,
) -> None:
    asked = Asked("killed", "messages", streaming=True)
    async with provider(tmp_path, pace=0.02) as (upstream, ledger), house(tmp_path, upstream) as own:
        key = await own.key()
        process, _ = await started(own)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", own.port)
            writer.write(request(asked, key, words=5000))  # more than a minute's
            await asyncio.wait_for(reader.readuntil(b"content_block_delta"), BOUND)
            await until(lambda: asked.model in books.read(own.database, ledger).prompts)
            await end(process, signal.SIGKILL)
            writer.close()
            process, _ = await started(own)
            await end(process, signal.SIGTERM)
        finally:
            await end(process, signal.SIGKILL)
        found = books.read(own.database, ledger)

    assert found.kept[asked.model].state == "recovered"
    assert len(found.prompts[asked.model]) == 1


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

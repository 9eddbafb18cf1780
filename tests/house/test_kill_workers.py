"""Killing some of several processes that share a database: nobody's recovery ends what a living one has open."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.house import books
from tests.house.load import Load, ready
from tests.house.product import BOUND, House, end, house, provider

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

USERS = 12
KILLS = 3


def living(database: Path) -> dict[str, int]:
    """The boots that have not ended, and the process of each."""
    return dict(books.rows(database, "SELECT id, pid FROM aibridge_boots WHERE ended_at IS NULL"))


def open_of(database: Path, boot_id: str) -> int:
    """How many interceptions a process has open."""
    query = "SELECT count(*) FROM aibridge_interceptions WHERE boot_id = ? AND ended_at IS NULL"
    return int(books.rows(database, query, boot_id)[0][0])


async def under_load(load: Load, condition: Callable[[], bool]) -> None:
    """Returns when the condition holds; it is looked at after every answer."""
    async with asyncio.timeout(BOUND):
        while not condition():
            await load.more_answers(1)


async def kill_a_worker(own: House, load: Load, chance: random.Random) -> str:
    """Kills one of two workers while both have something open; its boot."""
    await under_load(load, lambda: len(living(own.database)) == 2)
    both = living(own.database)
    victim = chance.choice(sorted(both))
    await under_load(load, lambda: all(open_of(own.database, boot_id) for boot_id in both))
    os.kill(both[victim], signal.SIGKILL)
    # Its replacement closes its books at its start.
    await under_load(load, lambda: victim not in living(own.database))
    assert open_of(own.database, victim) == 0
    return victim


async def two_workers(own: House) -> asyncio.subprocess.Process:
    process = await own.serve("--workers", "2")
    await ready(own.port, process)
    return process


async def test_a_killed_worker_is_replaced_and_its_siblings_interceptions_run_on(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    killed: set[str] = set()
    async with provider(tmp_path, pace=0.002) as (upstream, ledger), house(tmp_path, upstream) as own:
        load = Load(own.port, await own.key(), chance, words=(1, 300))
        process = await two_workers(own)
        try:
            async with load.users(USERS):
                for _ in range(KILLS):
                    killed.add(await kill_a_worker(own, load, chance))
                await load.more_answers(USERS)
            status = await end(process, signal.SIGTERM)
        finally:
            await end(process, signal.SIGKILL)
        found = books.read(own.database, ledger)

    books.check(found, load.asked)
    recovered = {each.boot_id for each in found.kept.values() if each.state == "recovered"}
    assert status == 0
    assert len(killed) == KILLS
    assert recovered == killed
    assert {each.state for each in found.kept.values() if each.boot_id not in killed} == {"completed"}
    assert living(own.database) == {}
    assert "Traceback" not in own.log


async def test_workers_whose_supervisor_is_killed_end_their_streams_beside_its_successor(
    tmp_path: Path, seed: int
) -> None:
    async with provider(tmp_path, pace=0.002) as (upstream, ledger), house(tmp_path, upstream) as own:
        load = Load(own.port, await own.key(), random.Random(seed), words=(1, 300))
        process = await two_workers(own)
        try:
            async with load.users(USERS):
                await under_load(load, lambda: len(living(own.database)) == 2)
                orphans = living(own.database)
                await under_load(load, lambda: all(open_of(own.database, boot_id) for boot_id in orphans))
                process.kill()
                await process.wait()
                process = await own.serve("--workers", "2")  # not ready at once: the orphans share its socket and drain
                await under_load(load, lambda: not orphans.keys() & living(own.database).keys())
                await load.more_answers(USERS)
            status = await end(process, signal.SIGTERM)
        finally:
            await end(process, signal.SIGKILL)
        found = books.read(own.database, ledger)

    books.check(found, load.asked)
    assert status == 0
    assert found.states().keys() == {"completed"}
    assert living(own.database) == {}


async def test_two_servers_share_a_file_and_one_that_dies_takes_nothing_of_the_other_along(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    async with provider(tmp_path, pace=0.002) as (upstream, ledger), house(tmp_path, upstream) as own:
        key = await own.key()
        process = await own.serve()
        try:
            await ready(own.port, process)
            (first,) = living(own.database)
            async with house(tmp_path, upstream) as other, other.serving() as second:
                await ready(other.port, second)
                load = Load(own.port, key, chance, words=(1, 300))
                beside = Load(other.port, key, chance, words=(1, 300), name="beside")
                async with load.users(USERS), beside.users(USERS):
                    await beside.more_answers(20)
                    await load.more_answers(20)
                    process.kill()
                    await process.wait()
                    process = await own.serve()  # it recovers what the first left, and nothing of the second
                    await ready(own.port, process)
                    assert open_of(own.database, first) == 0
                    await beside.more_answers(20)
                    await load.more_answers(20)
                statuses = [await end(second, signal.SIGTERM), await end(process, signal.SIGTERM)]
        finally:
            await end(process, signal.SIGKILL)
        found = books.read(own.database, ledger)

    books.check(found, load.asked + beside.asked)
    assert statuses == [0, 0]
    assert {each.boot_id for each in found.kept.values() if each.state == "recovered"} == {first}
    assert {each.state for each in found.kept.values() if each.boot_id != first} == {"completed"}
    assert all(each.settled for each in beside.asked)

"""SIGTERM: streams run on while there is time, then end in their dialect's words; everything is on record."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

import pytest

from tests.house import books
from tests.house.load import Asked, Load, connected, page, ready, streams
from tests.house.product import BOUND, end, house, provider

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PACE = 0.01  # seconds between the events of a stream


async def test_streams_run_on_while_the_gateway_is_not_ready_and_takes_nothing_new(tmp_path: Path) -> None:
    async with provider(tmp_path, pace=PACE) as (upstream, ledger), house(tmp_path, upstream) as own:
        key = await own.key()
        async with own.serving() as process:
            await ready(own.port, process)
            async with streams(own.port, key, 100) as running, connected(own.port) as idle:
                assert await idle.get("/healthz") == 200
                process.send_signal(signal.SIGTERM)
                readiness = await page(own.port, "/readyz")
                async with connected(own.port) as late:
                    refused = await late.ask(Asked("late", "messages", streaming=True), key)
                none_ended = not any(task.done() for task in running)
            asked = [task.result() for task in running]
            status = await end(process, signal.SIGCONT)
        found = books.read(own.database, ledger)

    assert none_ended
    assert readiness == 503
    assert refused.status == 503
    assert b'{"type":"error","error":{"type":"overloaded_error"' in refused.body.replace(b" ", b"")
    assert all(each.settled and each.whole for each in asked)
    assert status == 0
    books.check(found, asked)
    assert found.kept.keys() == {each.model for each in asked}


async def test_streams_that_outlast_the_drain_time_end_with_an_error_event_and_are_on_record(tmp_path: Path) -> None:
    async with (
        provider(tmp_path, pace=PACE) as (upstream, ledger),
        house(tmp_path, upstream, server='drain_timeout = "500ms"') as own,
    ):
        key = await own.key()
        async with own.serving() as process:
            await ready(own.port, process)
            async with streams(own.port, key, 20_000) as running:
                before = time.monotonic()
                process.send_signal(signal.SIGTERM)
            took = time.monotonic() - before
            asked = [task.result() for task in running]
            status = await end(process, signal.SIGCONT)
        found = books.read(own.database, ledger)

    assert status == 0
    assert took >= 0.5
    for each in asked:
        assert each.failed_in_its_words, each
        assert (found.kept[each.model].state, found.kept[each.model].status) == ("gateway_aborted", 200)
        assert len(found.prompts[each.model]) == 1
    books.check(found, asked)
    (usage,) = found.tokens["stream-messages"]  # the one dialect whose first event carries usage
    assert usage[0] > 0
    assert books.rows(own.database, "SELECT partial FROM aibridge_token_usages") == [(1,)]


async def test_a_second_signal_ends_the_gateway_now_and_its_streams_are_on_record(tmp_path: Path) -> None:
    async with provider(tmp_path, pace=PACE) as (upstream, ledger), house(tmp_path, upstream) as own:
        key = await own.key()
        async with own.serving() as process:
            await ready(own.port, process)
            async with streams(own.port, key, 20_000) as running:
                process.send_signal(signal.SIGTERM)
                assert await page(own.port, "/readyz") == 503
                before = time.monotonic()
                process.send_signal(signal.SIGTERM)
            status = await end(process, signal.SIGCONT)
            took = time.monotonic() - before
            asked = [task.result() for task in running]
        found = books.read(own.database, ledger)

    assert status == 0
    assert took < 15  # not the drain time of 300
    assert not any(each.settled for each in asked)
    books.check(found, asked)
    assert found.states() == {"gateway_aborted": 3}


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_gateway_that_is_ended_under_load_loses_nothing(tmp_path: Path, seed: int, workers: int) -> None:
    async with (
        provider(tmp_path, pace=0.002) as (upstream, ledger),
        house(tmp_path, upstream, server='drain_timeout = "300ms"') as own,
    ):
        load = Load(own.port, await own.key(), random.Random(seed), words=(1, 400))
        async with own.serving("--workers", str(workers)) as process:
            await ready(own.port, process)
            async with load.users(12):
                await load.more_answers(100)
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(BOUND):
                    status = await process.wait()
                load.leave()
        found = books.read(own.database, ledger)

    assert status == 0
    books.check(found, load.asked)
    assert found.states().keys() <= {"completed", "gateway_aborted"}
    assert sum(each.settled for each in load.asked) > 50
    assert "Traceback" not in own.log

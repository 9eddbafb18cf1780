"""Commands beside a running gateway: they work under load, and what they change holds for the very next request."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

import pytest

from tests.house import books
from tests.house.load import Asked, Load, connected, one, ready, streams
from tests.house.product import end, house, provider

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_commands_work_while_the_gateway_serves_and_lose_nothing_of_it(tmp_path: Path, seed: int) -> None:
    async with provider(tmp_path, pace=0.002) as (upstream, ledger), house(tmp_path, upstream) as own:
        load = Load(own.port, await own.key(), random.Random(seed), words=(1, 100))
        async with own.serving() as process:
            await ready(own.port, process)
            async with load.users(8):
                await load.more_answers(20)
                users = await asyncio.gather(*(own.command("users", "create", f"user-{n}") for n in range(3)))
                keys = await asyncio.gather(*(own.key("--user", user["username"]) for user in users))
                theirs = [await one(own.port, key, Asked(f"their-{n}", "messages", True)) for n, key in enumerate(keys)]
                listed = await own.command("interceptions", "list", "--initiator", "user-1")
                everything = await own.command("interceptions", "list", "--limit", "1000")
                await load.more_answers(20)
            status = await end(process, signal.SIGTERM)
        found = books.read(own.database, ledger)

    assert [(each["model"], each["initiator"]["username"]) for each in listed["results"]] == [("their-1", "user-1")]
    assert len(everything["results"]) >= 20
    assert all(each.settled for each in (*load.asked, *theirs))
    books.check(found, load.asked + theirs)
    assert found.states().keys() == {"completed"}
    assert status == 0
    assert "Traceback" not in own.log


async def test_a_revoked_key_opens_nothing_from_the_next_request_on(tmp_path: Path) -> None:
    async with provider(tmp_path, pace=0) as (upstream, ledger), house(tmp_path, upstream) as own:
        made = await own.command("keys", "create")
        async with own.serving(), connected(own.port) as connection:
            assert (await connection.ask(Asked("before", "messages", True), made["key"])).settled
            await own.command("keys", "revoke", made["id"])
            after = await connection.ask(Asked("after", "messages", True), made["key"])
        found = books.read(own.database, ledger)

    assert after.status == 401
    assert b"\r\nx-should-retry: false\r\n" in after.headers
    assert b"\r\nwww-authenticate: " in after.headers
    assert b"revoked" in after.body
    assert found.served.keys() == found.kept.keys() == {"before"}


async def test_the_open_streams_of_a_suspended_user_end_within_a_minute_and_others_run_on(tmp_path: Path) -> None:
    async with provider(tmp_path, pace=0.02) as (upstream, ledger), house(tmp_path, upstream) as own:
        await own.command("users", "create", "alice")
        hers, others = await own.key("--user", "alice"), await own.key()
        async with own.serving() as process:
            await ready(own.port, process)
            async with connected(own.port) as connection, asyncio.TaskGroup() as group:
                async with streams(own.port, hers, 20_000) as running:
                    beside = group.create_task(connection.ask(Asked("beside", "messages", True), others, 20_000))
                    await own.command("users", "suspend", "alice")
                    before = time.monotonic()
                    refused = await one(own.port, hers, Asked("refused", "responses", True))
                took = time.monotonic() - before
                ran_on = not beside.done()
                beside.cancel()
            status = await end(process, signal.SIGTERM)
        found = books.read(own.database, ledger)

    cut = [task.result() for task in running]
    assert refused.status == 401
    assert took < 60
    assert all(each.failed_in_its_words for each in cut), cut
    assert {found.kept[each.model].state for each in cut} == {"gateway_aborted"}
    assert ran_on
    assert found.kept["beside"].state == "client_gone"
    books.check(found, cut)
    assert status == 0

"""A disk that is full, or that fails, under the whole product: each `fail` policy exactly, and no acknowledged record lost.

A full disk is a small tmpfs; a failed write is a limit on the size of files (setrlimit(2), RLIMIT_FSIZE), which SQLite
takes for an error of the disk; a failed sync is injected by strace where that is installed.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.durable import ended, interception, prompt, recording, until
from tests.house import books
from tests.house.load import DIALECTS, Asked, one, page, ready, streams
from tests.house.product import BOUND, House, end, house, provider

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PACE = 0.02  # seconds between the events of a stream
LONG = 900_000  # characters of a prompt that is kept whole, and does not fit
DISK = 8 * 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of its own, of some megabytes."""
    point = tmp_path / "disk"
    point.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(point)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("nobody may mount a small disk here")
    try:
        yield point
    finally:
        subprocess.run(["umount", str(point)], check=True)


def fill(disk: Path, leave: int = 0) -> Path:
    """Fills the disk up to `leave` bytes; the file that does it."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - leave)
    return ballast


async def ready_again(port: int) -> None:
    async with asyncio.timeout(BOUND):
        while await page(port, "/readyz") != 200:
            pass


@asynccontextmanager
async def served(
    folder: Path, database: Path, policy: str
) -> AsyncIterator[tuple[House, str, Path, asyncio.subprocess.Process]]:
    """A gateway with a policy and a database: its house, a key, the provider's ledger and the process."""
    async with (
        provider(folder, pace=PACE) as (upstream, ledger),
        house(folder, upstream, database=database, recording=f'fail = "{policy}"') as own,
    ):
        key = await own.key()
        async with own.serving() as process:
            await ready(own.port, process)
            yield own, key, ledger, process


async def test_closed_asks_no_provider_while_the_disk_is_full_and_goes_on_when_it_is_not(
    tmp_path: Path, disk: Path
) -> None:
    async with served(tmp_path, disk / "aibridge.db", "closed") as (own, key, ledger, process):
        assert (await one(own.port, key, Asked("before", "messages", streaming=False))).settled
        async with streams(own.port, key, 200) as running:
            ballast = fill(disk)
            long = await one(own.port, key, Asked("long", "messages", streaming=False, padding=LONG))
            readiness = await page(own.port, "/readyz")
            refused = [
                await one(own.port, key, Asked(f"refused-{dialect}", dialect, streaming=True)) for dialect in DIALECTS
            ]
        ballast.unlink()
        await ready_again(own.port)
        after = await one(own.port, key, Asked("after", "responses", streaming=True))
        status = await end(process, signal.SIGTERM)
        found = books.read(own.database, ledger)

    cut = [task.result() for task in running]
    assert (long.status, readiness) == (503, 503)
    assert [each.status for each in refused] == [503, 503, 503]
    assert all(b'"error"' in each.body for each in refused)
    assert all(each.failed_in_its_words for each in cut), cut
    assert found.served.keys().isdisjoint(each.model for each in refused)
    assert after.settled
    assert status == 0
    books.check(found, [after])
    # Whether the long one was asked depends on what fitted in: its start, or not even that.
    assert found.served.keys() - {"long"} == {"before", "after", *(each.model for each in cut)}


async def test_a_disk_that_is_full_when_the_log_is_copied_into_the_database_breaks_nothing(disk: Path) -> None:
    async with recording(disk) as at_work:
        for number in range(3):
            begun = interception(f"id-{number}")
            await at_work.recorder.record_interception(begun)
            await at_work.recorder.record_prompt_usage(prompt(begun.id, "x" * 300_000))
            await at_work.recorder.record_interception_ended(ended(begun.id))
        copied = at_work.writer.statistics().checkpoints
        ballast = fill(disk)
        await until(lambda: at_work.writer.statistics().checkpoints > copied)
        assert at_work.writer.why_unhealthy is None
        ballast.unlink()
        await at_work.recorder.record_interception(interception("id-3"))
        await at_work.recorder.record_interception_ended(ended("id-3"))

    assert at_work.rows("SELECT count(*), max(id) FROM aibridge_interceptions WHERE state = 'completed'") == [
        (4, "id-3")
    ]
    assert at_work.rows("PRAGMA integrity_check") == [("ok",)]


async def test_usage_only_gives_content_up_for_usage_when_the_disk_is_full(tmp_path: Path, disk: Path) -> None:
    async with served(tmp_path, disk / "aibridge.db", "usage-only") as (own, key, ledger, process):
        fill(disk, leave=256 * 1024)
        long = await one(own.port, key, Asked("long", "messages", streaming=True, padding=LONG))
        short = await one(own.port, key, Asked("short", "chat_completions", streaming=False))
        await ready_again(own.port)
        status = await end(process, signal.SIGTERM)
        found = books.read(own.database, ledger)

    assert long.settled
    assert short.settled
    assert {model: each.state for model, each in found.kept.items()} == {"long": "completed", "short": "completed"}
    assert {model: tokens[0] for model, tokens in found.tokens.items()} == found.served
    assert found.prompts.keys() == {"short"}
    assert status == 0


async def test_open_serves_on_while_nothing_can_be_recorded(tmp_path: Path, disk: Path) -> None:
    async with served(tmp_path, disk / "aibridge.db", "open") as (own, key, _, process):
        ballast = fill(disk)
        long = await one(own.port, key, Asked("long", "messages", streaming=True, padding=LONG))
        readiness = await page(own.port, "/readyz")
        others = [
            # Whose a stored response is must be known before anybody sees its id, records or not.
            await one(own.port, key, Asked(f"other-{dialect}", dialect, streaming=streaming, stored=False))
            for dialect in DIALECTS
            for streaming in (True, False)
        ]
        ballast.unlink()
        await ready_again(own.port)
        after = await one(own.port, key, Asked("after", "responses", streaming=True))
        status = await end(process, signal.SIGTERM)
        kept = dict(books.rows(own.database, "SELECT model, state FROM aibridge_interceptions"))

    assert readiness == 503
    assert all(each.settled for each in (long, *others, after)), others
    assert kept["after"] == "completed"
    assert status == 0


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit(2) is of Linux")
async def test_open_serves_on_after_an_error_of_the_disk_and_exits_non_zero_when_it_is_ended(tmp_path: Path) -> None:
    async with served(tmp_path, tmp_path / "aibridge.db", "open") as (own, key, _, process):
        async with streams(own.port, key, 100) as running:
            limit = own.database.with_name("aibridge.db-wal").stat().st_size
            async with no_larger_files(process.pid, limit):
                long = await one(own.port, key, Asked("long", "messages", streaming=False, padding=LONG))
            readiness = await page(own.port, "/readyz")
        after = await one(own.port, key, Asked("after", "chat_completions", streaming=True))
        status = await end(process, signal.SIGTERM)

    by_dialect = {task.result().dialect: task.result() for task in running}
    assert readiness == 503
    assert long.settled
    assert after.settled
    assert by_dialect["messages"].settled
    assert by_dialect["chat_completions"].settled
    assert status == 1


async def failed(
    own: House, key: str, process: asyncio.subprocess.Process, failure: AbstractAsyncContextManager[None]
) -> tuple[list[Asked], int]:
    """What becomes of a gateway whose disk fails: the streams that ran, and its exit status."""
    async with streams(own.port, key, 200) as running, failure:
        broken = await one(own.port, key, Asked("long", "messages", streaming=False, padding=LONG))
        readiness = await page(own.port, "/readyz")
        refused = await one(own.port, key, Asked("refused", "messages", streaming=True))
        assert (broken.status, readiness, refused.status) == (503, 503, 503)
        async with asyncio.timeout(BOUND):
            status = await process.wait()
    return [task.result() for task in running], status


@asynccontextmanager
async def no_larger_files(pid: int, limit: int) -> AsyncIterator[None]:
    """Every write beyond `limit` bytes fails from now on."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, limit))
    yield


@asynccontextmanager
async def no_syncs(pid: int) -> AsyncIterator[None]:
    """Every sync to disk fails from now on."""
    calls = "fsync,fdatasync"
    tracer = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-p", str(pid), "-o", os.devnull, "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO"),
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert tracer.stderr is not None
        async with asyncio.timeout(BOUND):
            while b" attached" not in (said := await tracer.stderr.readline()):
                if not said or b"not permitted" in said:
                    pytest.skip("nobody may trace processes here")
        yield
    finally:
        await end(tracer, signal.SIGTERM)


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit(2) and strace are of Linux")
@pytest.mark.parametrize("what_fails", ["write", "sync"])
async def test_after_an_error_of_the_disk_the_gateway_drains_and_exits_non_zero_and_the_next_one_goes_on(
    tmp_path: Path, what_fails: str
) -> None:
    if what_fails == "sync" and shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    async with served(tmp_path, tmp_path / "aibridge.db", "closed") as (own, key, ledger, process):
        before = await one(own.port, key, Asked("before", "messages", streaming=False))
        if what_fails == "sync":
            failure = no_syncs(process.pid)
        else:
            failure = no_larger_files(process.pid, own.database.with_name("aibridge.db-wal").stat().st_size)
        running, status = await failed(own, key, process, failure)
        async with own.serving() as successor:
            await ready(own.port, successor)
            after = await one(own.port, key, Asked("after", "responses", streaming=True))
            successor_status = await end(successor, signal.SIGTERM)
        found = books.read(own.database, ledger)

    assert status == 1
    assert all(each.failed_in_its_words for each in running), running
    assert "refused" not in found.served
    assert (before.settled, after.settled, successor_status) == (True, True, 0)
    books.check(found, [before, after])
    assert {found.kept[each.model].state for each in running} == {"recovered"}

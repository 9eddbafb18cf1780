"""What a dead process left open is ended at the next start; what a living one has open is not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from aibridge.database.boots import Boot
from aibridge.database.recovery import recover
from aibridge.records import State
from tests.durable import START, database, ended, interception, recording, rows, usage

pytestmark = pytest.mark.anyio

LATER = START + timedelta(hours=8)
END = "SELECT state, ended_at, error_message FROM aibridge_interceptions WHERE id = ?"
RECOVERED = ("recovered", "2026-11-20 12:00:03.000000", "the process ended before the interception did")


async def left_open(path: Path, boot_id: str) -> str:
    """An interception that nobody ended, with usage three seconds after its start."""
    async with recording(path, boot_id=boot_id) as at_work:
        start = interception()
        await at_work.recorder.record_interception(start)
        await at_work.recorder.record_token_usage(usage(start.id, at=3.0))
    return start.id


async def test_what_a_dead_process_left_open_ends_with_its_last_sign_of_life(tmp_path: Path) -> None:
    file = database(tmp_path)
    boot = Boot.begin(file, "dead", START)
    open_id = await left_open(tmp_path, "dead")
    boot._lock.close()  # as the system does when a process dies

    assert recover(file, LATER) == 1
    assert rows(file, END, open_id) == [RECOVERED]
    assert rows(file, "SELECT ended_at FROM aibridge_boots") == [("2026-11-20 20:00:00.000000",)]
    assert recover(file, LATER) == 0


async def test_what_a_living_sibling_has_open_stays_open(tmp_path: Path) -> None:
    file = database(tmp_path)
    sibling = Boot.begin(file, "alive", START)
    open_id = await left_open(tmp_path, "alive")

    assert recover(file, LATER) == 0
    assert rows(file, END, open_id) == [(None, None, None)]
    sibling.leave(LATER)


async def test_a_process_that_leaves_with_something_open_is_recovered_like_a_dead_one(tmp_path: Path) -> None:
    file = database(tmp_path)
    boot = Boot.begin(file, "hasty", START)
    open_id = await left_open(tmp_path, "hasty")
    boot.leave(LATER)

    assert recover(file, LATER) == 1
    assert rows(file, END, open_id) == [RECOVERED]


async def test_a_process_that_left_nothing_open_leaves_no_lock_file(tmp_path: Path) -> None:
    file = database(tmp_path)
    boot = Boot.begin(file, "tidy", START)
    boot.leave(LATER)

    assert not file.boot_lock("tidy").exists()
    assert rows(file, "SELECT id, ended_at IS NULL FROM aibridge_boots") == [("tidy", 0)]


async def test_a_boot_id_that_lives_cannot_begin_again(tmp_path: Path) -> None:
    file = database(tmp_path)
    boot = Boot.begin(file, "one", START)

    with pytest.raises(RuntimeError, match="another process lives"):
        Boot.begin(file, "one", START)
    boot.leave(LATER)


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("recovered", "completed", "completed"),
        ("recovered", "client_gone", "client_gone"),
        ("recovered", "recovered", "recovered"),
        ("completed", "recovered", "completed"),
        ("completed", "upstream_error", "completed"),
        ("client_gone", "completed", "client_gone"),
    ],
)
async def test_a_real_end_replaces_a_recovered_one_and_nothing_replaces_a_real_one(
    tmp_path: Path, first: State, second: State, kept: State
) -> None:
    async with recording(tmp_path) as at_work:
        start = interception()
        await at_work.recorder.record_interception(start)
        await at_work.recorder.record_interception_ended(ended(start.id, first, at=5))
        await at_work.recorder.record_interception_ended(ended(start.id, second, at=9))

        seconds = "05" if kept == first else "09"
        assert at_work.rows(END, start.id) == [(kept, f"2026-11-20 12:00:{seconds}.000000", None)]


async def test_an_end_that_comes_after_recovery_counts(tmp_path: Path) -> None:
    file = database(tmp_path)
    Boot.begin(file, "slow", START)._lock.close()
    async with recording(tmp_path, boot_id="slow") as at_work:
        start = interception()
        await at_work.recorder.record_interception(start)
        assert recover(file, LATER) == 1
        await at_work.recorder.record_interception_ended(ended(start.id, "completed"))

        assert at_work.rows(END, start.id) == [("completed", "2026-11-20 12:00:05.000000", None)]

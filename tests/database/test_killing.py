"""kill -9 under load, again and again: whatever was promised is there, once, and everything that was begun ends."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aibridge.clock import SystemClock
from aibridge.database.boots import Boot
from aibridge.database.recovery import recover
from tests.durable import BOUND, START, database, rows

CHECKOUT = Path(__file__).resolve().parents[2]
KILLS = 6


@contextmanager
def loading(path: Path, boot_id: str) -> Iterator[subprocess.Popen[str]]:
    """A process of `load.py`, killed at the end of the block if it still lives."""
    command = [sys.executable, "-m", "tests.database.load", str(path), boot_id]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read(process: subprocess.Popen[str], promises: list[str], count: int) -> None:
    """Takes `count` promises more."""
    assert process.stdout is not None
    for _ in range(count):
        line = process.stdout.readline()
        assert line, f"the process ended by itself: {process.wait(BOUND)}"
        promises.append(line)


def read_rest(process: subprocess.Popen[str], promises: list[str]) -> None:
    assert process.stdout is not None
    promises += [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]


def started_and_ended(promises: list[str]) -> tuple[set[str], dict[str, int]]:
    words = [line.split() for line in promises]
    return {word[1] for word in words if word[0] == "started"}, {
        word[1]: int(word[2]) for word in words if word[0] == "ended"
    }


def test_nothing_that_was_promised_is_lost_or_doubled_by_killing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    file = database(tmp_path)
    promises: list[str] = []
    for kill in range(KILLS):
        with loading(file.path, f"boot-{kill}") as process:
            read(process, promises, chance.randrange(20, 900))
            process.send_signal(signal.SIGKILL)
            read_rest(process, promises)
            assert process.wait(BOUND) == -signal.SIGKILL
    own = Boot.begin(file, "the-last", START)
    recover(file, SystemClock().now())

    started, ended = started_and_ended(promises)
    state = dict(rows(file, "SELECT id, state FROM aibridge_interceptions"))
    assert len(started) > 100
    assert started <= state.keys()
    assert {state[found] for found in ended} == {"completed"}
    assert set(state.values()) == {"completed", "recovered"}
    usage = rows(file, "SELECT interception_id, output_tokens FROM aibridge_token_usages")
    assert len(usage) == len(dict(usage))
    assert {found: tokens for found, tokens in usage if found in ended} == ended
    for table in ("aibridge_user_prompts", "aibridge_tool_usages"):
        found = rows(file, f"SELECT interception_id FROM {table}")
        assert len(found) == len(set(found))
        assert ended.keys() <= {one for (one,) in found}
    assert rows(file, "PRAGMA integrity_check") == [("ok",)]
    own.leave(START)


def test_two_processes_write_one_file_and_neither_ends_what_the_other_has_open(tmp_path: Path) -> None:
    file = database(tmp_path)
    first_promises: list[str] = []
    second_promises: list[str] = []
    with loading(file.path, "first") as first, loading(file.path, "second") as second:
        read(first, first_promises, 300)
        read(second, second_promises, 300)  # it recovered at its start, while the first was in the midst of things
        first.send_signal(signal.SIGKILL)
        read_rest(first, first_promises)
        first.wait(BOUND)
        recover(file, START)  # a third process starts: it ends what the first left, and nothing of the second
        read(second, second_promises, 300)
        assert second.stdin is not None
        second.stdin.close()
        read_rest(second, second_promises)
        assert second.wait(BOUND) == 0

    started, ended = started_and_ended(first_promises + second_promises)
    states = {
        found: (boot, state)
        for found, boot, state in rows(file, "SELECT id, boot_id, state FROM aibridge_interceptions")
    }
    assert started <= states.keys()
    assert {states[found][1] for found in ended} == {"completed"}
    assert {state for boot, state in states.values() if boot == "second"} == {"completed"}
    # Whether it had any open when it was killed is chance; the test above makes sure of some.
    assert {state for boot, state in states.values() if boot == "first"} <= {"completed", "recovered"}
    assert rows(file, "SELECT id, ended_at IS NULL FROM aibridge_boots ORDER BY id") == [("first", 0), ("second", 0)]
    assert sorted(path.name for path in file.path.with_name("aibridge.db.locks").iterdir()) == ["write"]

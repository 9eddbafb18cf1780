"""Locks exclude threads and processes, and fall when their holder dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

from aibridge.database.locks import FileLock
from tests.durable import BOUND

HOLDER = """
import sys
from pathlib import Path
from aibridge.database.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
assert lock.taken_at_once()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_that_is_held_is_not_taken_at_once_and_is_free_afterwards(tmp_path: Path) -> None:
    with closing(FileLock(tmp_path / "lock")) as first, closing(FileLock(tmp_path / "lock")) as second:
        with first:
            assert not second.taken_at_once()
        assert second.taken_at_once()


def test_a_second_thread_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []
    entered = threading.Event()

    def wait() -> None:
        with closing(FileLock(tmp_path / "lock")) as lock:
            entered.set()
            with lock:
                order.append("second")

    with closing(FileLock(tmp_path / "lock")) as lock:
        with lock:
            thread = threading.Thread(target=wait)
            thread.start()
            assert entered.wait(BOUND)
            order.append("first")
        thread.join(BOUND)

    assert order == ["first", "second"]


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        subprocess.Popen([sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
        closing(FileLock(path)) as lock,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert not lock.taken_at_once()
        holder.send_signal(signal.SIGKILL)
        holder.wait(BOUND)

        assert lock.taken_at_once()

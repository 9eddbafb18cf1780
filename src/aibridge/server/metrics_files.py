"""The metrics of several workers, summed: each writes its own into mapped files of one folder, the supervisor reads all.

A file belongs to a worker's number and not to its process: the worker that replaces a killed one goes on from the
numbers that it left, so that counters never go back. What only a living process has (what is in flight) ends with it.
The files are in memory where there is a place for that: a full disk must not end a worker that counts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, multiprocess, values

_IN_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own is made in it, readable by nobody else
_PREFIX = "aibridge-metrics-"
_LOCK = "lock"


@contextmanager
def metrics_folder(place: Path | None = None) -> Iterator[Path]:
    """In the supervisor: the folder, which goes with the block. Those of supervisors that were killed go too."""
    if place is None:
        place = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    for left in place.glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=place) as name, (Path(name) / "new").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (Path(name) / "new").rename(Path(name) / _LOCK)  # locked from the moment that it can be found
        yield Path(name)


def _remove_if_left(folder: Path) -> None:
    """Removes a folder of ours whose supervisor is gone: nobody holds its lock."""
    try:
        with (folder / _LOCK).open("rb") as lock:
            if folder.stat().st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        pass  # somebody else's, in use, or gone in the meantime


def count_in(folder: str, worker: int) -> None:
    """In a worker, before it makes any series: from now on they are in the folder's files.

    The library knows one place for all series of a process; a worker is a process of ours alone.
    """
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]  # it has no types


def worker_ended(folder: Path, worker: int) -> None:
    """In the supervisor: what only a living process has is over."""
    multiprocess.mark_process_dead(worker, str(folder))  # type: ignore[no-untyped-call]  # as above


def summed(folder: Path) -> CollectorRegistry:
    """In the supervisor: what all workers have counted so far."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]  # as above
    return registry

"""Processes: pinned to cores, counted with their children, and ended by their id."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def process_table() -> dict[int, tuple[int, int]]:
    """Pid -> (parent, session)"""
    table = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            table[int(entry)] = (int(fields[1]), int(fields[3]))
    return table


def family(root: int) -> list[int]:
    """The process, all below it, and what was orphaned but still belongs to its session."""
    table = process_table()
    found = {pid for pid, (_, session) in table.items() if session == root} | {root}
    grew = True
    while grew:
        more = {pid for pid, (parent, _) in table.items() if parent in found} - found
        grew = bool(more)
        found |= more
    return sorted(pid for pid in found if pid in table)


def cpu_seconds(pids: Sequence[int]) -> float:
    """User + system time, to the nanosecond, with all threads (ended ones too) and reaped children."""
    total = 0.0
    for pid in pids:
        try:
            total += time.clock_gettime(~pid << 3 | 2)  # the kernel's id of that process' CPU clock
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError):
            continue
    return total


def pss_mb(pids: Sequence[int]) -> float:
    """Proportional set size: pages shared by the workers count once."""
    kilobytes = 0
    for pid in pids:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
        except OSError:
            continue
    return kilobytes / 1024


def core_busy_seconds(cores: Sequence[int]) -> float:
    busy = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            busy += sum(map(int, ticks[:8])) - int(ticks[3]) - int(ticks[4])
    return busy / os.sysconf("SC_CLK_TCK")


def start_pinned(command: Sequence[str], cores: Sequence[int], **options: Any) -> subprocess.Popen[Any]:
    """Starts the program in a session of its own on these cores."""
    pin = functools.partial(os.sched_setaffinity, 0, cores)
    return subprocess.Popen(list(command), preexec_fn=pin, start_new_session=True, **options)  # noqa: PLW1509 (no threads here)


def end(process: subprocess.Popen[Any], patience: float = 15) -> bool:
    """Ends the process and its family. True if it went when asked."""
    went = True
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            went = False
    for pid in family(process.pid):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    return went


def free_ports() -> tuple[int, int]:
    with socket.socket() as a, socket.socket() as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        return a.getsockname()[1], b.getsockname()[1]


def build(folder: Path) -> None:
    done = subprocess.run(
        ["make", "-s", "-C", str(HERE), f"BUILD={folder}"], check=False, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"bench: cannot build the C programs (cc and make are needed):\n{done.stderr}")

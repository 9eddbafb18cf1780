#!/usr/bin/env python3
"""Measures gateways side by side: CPU time, latency, memory, start; nginx is the yardstick.

    bench.py [--quick] [--rounds N] [--out FILE] GATEWAY.json...

Rule of the house: a figure counts only beside nginx's figure of the same round, and only if every
answer was whole. README.md says what the scenarios are and how a gateway is described.
Needs Linux, a C compiler, make, nginx, Python 3.11; nothing from PyPI.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.gateways import DIRECT, Gateway, nginx
from benchmarks.measuring import Bench, note
from benchmarks.report import report
from benchmarks.scenarios import DEFAULT, QUICK, SCENARIOS


def machine() -> str:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()},"
        f" Python {platform.python_version()}, load average {os.getloadavg()[0]:.1f} at the start"
    )


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(
        description="Measures gateways beside nginx: CPU, latency, memory, start. See README.md.",
        epilog="Exit status: 0; 1 if the first gateway gave a wrong answer or could not run, if records and"
        " ledger differ, or if --check fails; 2 usage.",
    )
    p.add_argument("gateways", nargs="*", type=Path, metavar="GATEWAY", help="a description, .json or .toml")
    p.add_argument("--quick", action="store_true", help="1 round of json50, p50, l5: under 60 s for one gateway")
    p.add_argument("--rounds", type=int, help="default 3")
    p.add_argument("--scenarios", help=f"comma-separated; default {','.join(DEFAULT)}; all: {','.join(SCENARIOS)}")
    p.add_argument("--no-memory", dest="memory", action="store_false", help="do not measure the memory of open streams")
    p.add_argument("--no-nginx", action="store_true", help="without the yardstick")
    p.add_argument("--nginx", default=shutil.which("nginx") or "/usr/sbin/nginx", help="the nginx program")
    p.add_argument(
        "--reconcile",
        action="store_true",
        help="compare the mock's ledger with the gateways' databases, by each description's count_command",
    )
    p.add_argument("--count-command", metavar="COMMAND", help="reconcile the first gateway by this command instead")
    p.add_argument(
        "--kill",
        action="store_true",
        help="at the end SIGKILL the gateway in the midst of requests and count what was answered"
        " but is not in its database",
    )
    p.add_argument("--check", choices=("first", "goal"), help="fail if the first gateway is over this budget")
    p.add_argument("--out", help="write everything to this JSON file")
    p.add_argument("--gateway-cores", default="0")
    p.add_argument("--load-cores", default="1", help="for mock and load client")
    p.add_argument(
        "--build",
        default=str(Path(tempfile.gettempdir(), f"gateway-bench-{os.getuid()}")),
        help="where the C programs are built",
    )
    p.add_argument("--keep", action="store_true", help="keep the gateways' folders (logs, databases)")
    o = p.parse_intermixed_args(arguments)
    o.rounds = o.rounds or (1 if o.quick else 3)
    o.scenarios = o.scenarios.split(",") if o.scenarios else list(QUICK if o.quick else DEFAULT)
    o.memory = o.memory and not o.quick
    o.reconcile = o.reconcile or o.kill or o.count_command is not None
    if unreadable := [str(file) for file in o.gateways if not file.is_file()]:
        p.error(f"no description of a gateway: {', '.join(unreadable)}")
    if unknown := set(o.scenarios) - set(SCENARIOS):
        p.error(f"no such scenario: {', '.join(sorted(unknown))}")
    if missing := {int(c) for c in f"{o.gateway_cores},{o.load_cores}".split(",")} - os.sched_getaffinity(0):
        p.error(f"no such core here: {', '.join(map(str, sorted(missing)))} (--gateway-cores, --load-cores)")
    if not o.no_nginx and not Path(o.nginx).exists():
        p.error("nginx is not installed (apt install nginx-light, or --nginx PROGRAM, or --no-nginx)")
    o.machine = machine()
    return o


@contextmanager
def working_folder(keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    try:
        yield folder
    finally:
        if keep:
            note(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    o = options_of(arguments)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 10000:
        note(f"bench: only {hard} open files are allowed: p2000 and the memory scenario will fail")
    os.sched_setaffinity(0, [int(c) for c in o.load_cores.split(",")])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with working_folder(o.keep) as folder:
        described = [Gateway.read(file) for file in o.gateways]
        gateways = [Gateway(DIRECT, "{upstream}")]
        if not o.no_nginx:
            gateways.append(nginx(o.nginx, folder))
        gateways += described
        o.first = described[0].name if described else gateways[-1].name
        if len({g.name for g in gateways}) < len(gateways):
            sys.exit("bench: two gateways have the same name")
        bench = Bench(o, folder)
        try:
            bench.run(gateways)
        finally:
            bench.upstream.end()
        return report(bench, gateways)


if __name__ == "__main__":
    sys.exit(main())

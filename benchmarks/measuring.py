"""Rounds of scenarios over gateways, each started afresh."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gateways import DIRECT, CannotRun, Gateway, Run
from benchmarks.processes import build, core_busy_seconds, cpu_seconds, pss_mb, start_pinned
from benchmarks.report import number
from benchmarks.scenarios import KILLED, MEMORY, METRICS, SCENARIOS, WARM_UP, Scenario, request_body, rows_of
from benchmarks.upstream import Upstream, difference


class Bench:
    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.programs = Path(options.build)
        self.gateway_cores = [int(c) for c in options.gateway_cores.split(",")]
        self.load_cores = [int(c) for c in options.load_cores.split(",")]
        build(self.programs)
        self.upstream = Upstream(self.programs / "mock_upstream", self.load_cores)
        self.samples: list[dict[str, Any]] = []
        self.reconciled: list[dict[str, Any]] = []
        self.failed: dict[str, str] = {}
        self.errors: dict[str, list[str]] = {}

    def load(self, run: Run, s: Scenario) -> subprocess.Popen[str]:
        body = self.folder / f"{s.name}.json"
        if not body.exists():
            body.write_bytes(request_body(s))
        command = [str(self.programs / "load_client"), "--url", run.url(s.dialect), "--body", str(body)]
        command += ["--connections", str(s.connections), "--seconds", str(s.seconds)]
        command += ["--ramp", str(s.ramp_ms)]
        if s.is_stream:
            command += ["--expect", s.dialect, "--events", str(s.events)]
        for key, value in run.headers().items():
            command += ["--header", f"{key}: {value}"]
        return start_pinned(command, self.load_cores, stdout=subprocess.PIPE, text=True)

    def answer(self, run: Run, s: Scenario, client: subprocess.Popen[str]) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(client.communicate(timeout=180)[0])
        if result["errors"] and s != WARM_UP:
            kinds = ", ".join(f"{n} {kind}" for kind, n in result["errors_by_kind"].items())
            words = f"{s.name}: {kinds}; the first: {result['first_error'][:160]}"
            self.errors.setdefault(run.gateway.name, []).append(words)
        return result

    def settled(self, run: Run) -> float:
        """The CPU time once the gateway has come to rest: what it put off belongs to this load."""
        cpu, patience = cpu_seconds(run.pids()), time.monotonic() + 10
        while run.process and time.monotonic() < patience:
            time.sleep(0.15)
            before, cpu = cpu, cpu_seconds(run.pids())
            if cpu - before < 0.05 * 0.15:
                break
        return cpu

    def measure(self, run: Run, s: Scenario) -> dict[str, Any]:
        pids = run.pids()
        cpu, busy = cpu_seconds(pids), core_busy_seconds(self.gateway_cores)
        load_busy, began = core_busy_seconds(self.load_cores), time.monotonic()
        result = self.answer(run, s, self.load(run, s))
        wall = time.monotonic() - began
        load_busy = core_busy_seconds(self.load_cores) - load_busy
        in_time = cpu_seconds(pids) - cpu
        foreign = core_busy_seconds(self.gateway_cores) - busy - in_time
        cpu = self.settled(run) - cpu
        pids = run.pids()
        sample = {
            "requests": result["requests"],
            "events": result["events"],
            "errors": result["errors"],
            "requests_per_s": result["requests_per_s"],
            "events_per_s": result["events_per_s"],
            "latency_p50_us": result["latency_us"]["p50"],
            "latency_p99_us": result["latency_us"]["p99"],
            "ttfb_p50_us": result["ttfb_us"]["p50"],
            "ttfb_p99_us": result["ttfb_us"]["p99"],
            "delay_p50_us": result["event_delay_us"]["p50"],
            "delay_p99_us": result["event_delay_us"]["p99"],
            "cpu_s": cpu,
            "deferred_cpu_s": cpu - in_time,
            "gateway_cpu_percent": 100 * in_time / wall,
            "load_cores_percent": 100 * load_busy / wall,
            "foreign_cpu_percent": 100 * max(0, foreign) / wall,
            "pss_mb": pss_mb(pids),
            "raw": result,
        }
        if run.gateway.name != DIRECT:
            if result["requests"]:
                sample["cpu_us_per_request"] = 1e6 * cpu / result["requests"]
            if result["events"]:
                sample["cpu_us_per_event"] = 1e6 * cpu / result["events"]
        return sample

    def measure_memory(self, run: Run, streams: int) -> dict[str, Any]:
        """PSS with so many open streams, sampled while all of them are open."""
        s = dataclasses.replace(MEMORY, connections=streams)
        idle, peak = pss_mb(run.pids()), 0.0
        client = self.load(run, s)
        all_open = time.monotonic() + s.ramp_ms / 1000
        while time.monotonic() < all_open + s.events * s.every_us / 1e6 - s.ramp_ms / 1000:
            if time.monotonic() > all_open:
                peak = max(peak, pss_mb(run.pids()))
            time.sleep(0.25)
        result = self.answer(run, s, client)
        return {
            "streams": streams,
            "streams_mb": peak,
            "kb_per_stream": (peak - idle) * 1024 / streams,
            "errors": result["errors"],
            "raw": result,
        }

    def add(self, gateway: str, round_: int, scenario: str, sample: dict[str, Any]) -> None:
        self.samples.append({"gateway": gateway, "round": round_, "scenario": scenario, **sample})
        shown = [
            f"{METRICS[metric].label} {number(sample[metric] * METRICS[metric].unit, METRICS[metric].digits)}"
            for metric in rows_of(scenario)
            if metric in sample
        ]
        if sample.get("errors"):
            shown.append(f"{sample['errors']} ERRORS")
        note(f"  {gateway:14} {scenario:9} {'; '.join(shown)}")

    def turn(self, gateway: Gateway, round_: int, part: str) -> None:
        """One start of the gateway: with all its scenarios ("load"), or with many open streams ("memory").

        They do not share a process: after 2000 streams a Python gateway has a heap and connection pools
        that make its garbage collector, and with it every later request, dearer.
        """
        o = self.options
        count_command = gateway.count_command if o.reconcile else ()
        if o.count_command and gateway.name == o.first:
            count_command = tuple(shlex.split(o.count_command))
        folder = self.folder / f"{gateway.name}-{round_}-{part}"
        folder.mkdir()
        run = Run(gateway, self.upstream, folder, self.gateway_cores)
        before = self.upstream.ledger()
        counted: dict[str, int] = {}
        if count_command:
            with contextlib.suppress(CannotRun, ValueError, OSError):  # no database yet: nothing is in it
                counted = run.count(count_command)
        answered: int | None = None
        try:
            run.start()
            if gateway.command:
                time.sleep(0.5)
                fresh = {"start_s": run.start_s, "idle_mb": pss_mb(run.pids())}
                self.add(gateway.name, round_, MEMORY.name, fresh)
            if part == "memory":
                memory = self.measure_memory(run, gateway.memory_streams)
                self.add(gateway.name, round_, MEMORY.name, memory)
            else:
                self.measure_all(run, round_)
                if count_command and o.kill:
                    whole = difference(self.upstream.ledger(), before)["completed"]
                    answered = whole + self.kill_under_load(run)
        finally:
            if not run.end():
                note(f"  {gateway.name}: did not end on SIGTERM within 15 s, was killed")
        if count_command:
            self.reconciled.append(
                {
                    "gateway": gateway.name,
                    "round": round_,
                    "part": part,
                    "ledger": difference(self.upstream.ledger(), before),
                    "database": difference(run.count(count_command), counted),
                    "answered_before_kill": answered,
                }
            )

    def measure_all(self, run: Run, round_: int) -> None:
        if run.process:
            self.answer(run, WARM_UP, self.load(run, WARM_UP))
            self.settled(run)
        for name in self.options.scenarios:
            if name not in run.gateway.skip:
                self.add(run.gateway.name, round_, name, self.measure(run, SCENARIOS[name]))
        if run.process:
            self.add(run.gateway.name, round_, MEMORY.name, {"loaded_mb": pss_mb(run.pids())})

    def kill_under_load(self, run: Run) -> int:
        """SIGKILL in the midst of requests; how many of these were answered to the last byte."""
        client = self.load(run, KILLED)
        time.sleep(KILLED.seconds * 0.7)
        for pid in run.pids():
            os.kill(pid, signal.SIGKILL)
        result: dict[str, Any] = json.loads(client.communicate(timeout=60)[0])
        good: int = result["requests"]
        return good

    def run(self, gateways: Sequence[Gateway]) -> None:
        for round_ in range(self.options.rounds):
            note(f"round {round_ + 1} of {self.options.rounds}")
            shift = round_ % len(gateways)  # nobody is always the first
            for gateway in [*gateways[shift:], *gateways[:shift]]:
                if gateway.name in self.failed:
                    continue
                try:
                    self.turn(gateway, round_, "load")
                    if self.options.memory and gateway.command:
                        self.turn(gateway, round_, "memory")
                except (CannotRun, subprocess.SubprocessError, ValueError, OSError) as e:
                    self.failed[gateway.name] = f"{type(e).__name__}: {e}"
                    note(f"  {gateway.name}: FAILED: {e}")

    # -- results --

    def values(self, gateway: str, scenario: str, metric: str) -> dict[int, float]:
        """Round -> value; -1 and the like (nothing was measured) are left out"""
        found = {}
        for sample in self.samples:
            if sample["gateway"] == gateway and sample["scenario"] == scenario:
                value = sample.get(metric)
                if metric == "ttfb_added_p50_us":
                    direct = self.values(DIRECT, scenario, "ttfb_p50_us").get(sample["round"])
                    value = sample["ttfb_p50_us"] - direct if direct is not None else None
                if value is not None and (value >= 0 or metric == "ttfb_added_p50_us"):
                    found[sample["round"]] = value
        return found

    def median(self, gateway: str, scenario: str, metric: str) -> float | None:
        values = self.values(gateway, scenario, metric)
        return statistics.median(values.values()) if values else None

    def ratio(self, gateway: str, other: str, scenario: str, metric: str) -> float | None:
        """The median over the rounds of (gateway / other) within the round."""
        mine, theirs = self.values(gateway, scenario, metric), self.values(other, scenario, metric)
        ratios = [mine[r] / theirs[r] for r in mine if theirs.get(r, 0) > 0]
        return statistics.median(ratios) if ratios else None


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

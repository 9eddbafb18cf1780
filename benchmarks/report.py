"""Tables, budgets, and whether the records agree with the ledger."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.gateways import DIRECT, Gateway
from benchmarks.scenarios import BUDGETS, METRICS, SCENARIOS, rows_of

if TYPE_CHECKING:
    from benchmarks.measuring import Bench


def number(value: float | None, digits: int = 1) -> str:
    if value is None:
        return "-"
    return f"{value:.{max(0, digits - (abs(value) >= 1000))}f}"


def times(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}x" if value < 0.1 else f"{value:.2f}x" if value < 10 else f"{value:.0f}x"


def table(bench: Bench, names: Sequence[str], yardstick: str | None) -> str:
    """All scenarios, medians; behind each gateway its ratio to nginx; at last others to the first."""
    own = [n for n in names if n not in (yardstick, DIRECT)]
    shown = ([yardstick] if yardstick else []) + own
    others = own[1:]
    head = (
        f"{'':35}"
        + "".join(f"{n[:12]:>13}" + (f"{'/' + yardstick:>8}" if yardstick and n != yardstick else "") for n in shown)
        + "".join(f"  {(n[:9] + '/' + own[0][:9]):>19}" for n in others)
    )
    lines = [head]
    for scenario in [*bench.options.scenarios, "memory"]:
        for metric in rows_of(scenario):
            m = METRICS[metric]
            if not any(bench.values(n, scenario, metric) for n in shown):
                continue
            line = f"{scenario:10}{m.label:25}"
            for n in shown:
                value = bench.median(n, scenario, metric)
                line += f"{number(value * m.unit if value is not None else None, m.digits):>13}"
                if yardstick and n != yardstick:
                    line += f"{times(bench.ratio(n, yardstick, scenario, metric)):>8}"
            for n in others:
                line += f"  {times(bench.ratio(n, own[0], scenario, metric)):>19}"
            lines.append(line.rstrip())
    return "\n".join(lines)


def budget_lines(bench: Bench, name: str, yardstick: str | None) -> tuple[list[str], dict[str, bool]]:
    """The budgets of the gateway; per budget kind whether all that was measured is within it."""
    lines, within = [], {"first": True, "goal": True}
    for b in BUDGETS:
        if b.of_nginx:
            value = bench.ratio(name, yardstick, b.scenario, b.metric) if yardstick else None
        else:
            value = bench.median(name, b.scenario, b.metric)
        if value is None:
            continue
        within["first"] &= value <= b.first
        within["goal"] &= value <= b.goal
        verdict = "goal reached" if value <= b.goal else "within" if value <= b.first else "OVER"
        lines.append(
            f"  {b.name:24}{number(value, 2 if value < 10 else 1):>9} {b.unit:8} first version {b.first:<6g}"
            f" goal {b.goal:<6g} {verdict}"
        )
    return lines, within


def reconcile_lines(bench: Bench) -> tuple[list[str], bool]:
    """Compares what both sides count; after a kill, whether anything that was answered is missing."""
    lines, agree = [], True
    for r in bench.reconciled:
        ledger, counts = r["ledger"], r["database"]
        if r["answered_before_kill"] is not None:
            lost = r["answered_before_kill"] - counts["completed"]
            words = f"killed after {r['answered_before_kill']} whole answers: "
            words += f"{lost} of them LOST" if lost > 0 else "none of them lost"
            agree &= lost <= 0
        elif off := {k: v for k, v in counts.items() if k in ledger and v != ledger[k]}:
            words = "; ".join(
                f"MISMATCH {k}: database {v}, mock {ledger[k]} ({v - ledger[k]:+d})" for k, v in off.items()
            )
            agree = False
        else:
            words = "agrees: " + ", ".join(f"{k} {v}" for k, v in counts.items() if k in ledger)
        if ledger["aborted"] and r["answered_before_kill"] is None:
            words += f" ({ledger['aborted']} answers were cut off: their records are partial)"
        lines.append(f"  {r['gateway']}, round {r['round'] + 1}, {r['part']}: {words}")
    return lines, agree


def warnings(bench: Bench, names: Sequence[str]) -> list[str]:
    lines = [f"  {name} could not be measured: {why.splitlines()[0]}" for name, why in bench.failed.items()]
    for name in names:
        lines += [f"  {name}: {words}" for words in bench.errors.get(name, ())[:4]]
    foreign = [s["foreign_cpu_percent"] for s in bench.samples if "foreign_cpu_percent" in s]
    if foreign and max(foreign) > 10:
        lines.append(
            f"  others used the gateways' core: median {statistics.median(foreign):.0f} %, at most"
            f" {max(foreign):.0f} % of a scenario's time. Wall-clock figures (p99 above all) are noisy."
        )
    for scenario in bench.options.scenarios:
        if SCENARIOS[scenario].every_us:
            continue
        idle: list[str] = []
        blocked: list[str] = []
        for n in (n for n in names if n != DIRECT):
            if (bench.median(n, scenario, "gateway_cpu_percent") or 100) < 90:
                full = (bench.median(n, scenario, "load_cores_percent") or 0) > 90
                (idle if full else blocked).append(n)
        if idle:
            lines.append(
                f"  {scenario}: the load side limits {', '.join(idle)}: compare CPU, not requests or events a second."
            )
        if blocked:
            lines.append(
                f"  {scenario}: {', '.join(blocked)} did not fill a core: waits (the disk?) or has neighbours there."
            )
    return lines


def report(bench: Bench, gateways: Sequence[Gateway]) -> int:
    o = bench.options
    names = [g.name for g in gateways]
    yardstick = "nginx" if "nginx" in names else None
    first = o.first
    text = table(bench, names, yardstick)
    print(f"\n{o.machine}\nmedians of {o.rounds} round(s); ratios are medians of the ratios within a round\n")
    print(text)
    status = 0
    lines, within = budget_lines(bench, first, yardstick)
    if lines:
        print(f"\nbudgets of {first}:", *lines, sep="\n")
    if o.check and not (lines and within[o.check]):
        status = 1
    agreed, agree = reconcile_lines(bench)
    if agreed:
        print("\nrecords against the mock's ledger:", *agreed, sep="\n")
    notes = warnings(bench, names)
    if notes:
        print("\nnotes:", *notes, sep="\n")
    if not agree or first in bench.errors or first in bench.failed:
        status = 1
    if o.out:
        medians = {
            n: {
                sc: {m: v for m in METRICS if (v := bench.median(n, sc, m)) is not None}
                for sc in [*o.scenarios, "memory"]
            }
            for n in names
        }
        document = {
            "machine": o.machine,
            "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "rounds": o.rounds,
            "medians": medians,
            "reconciled": bench.reconciled,
            "errors": bench.errors,
            "failed": bench.failed,
            "table": text,
            "samples": bench.samples,
        }
        Path(o.out).write_text(json.dumps(document, indent=1) + "\n")
    return status

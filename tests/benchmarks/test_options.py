"""The benchmark's command line: options and descriptions of gateways in any order, and what cannot be is usage."""

import os
from pathlib import Path

import pytest

from benchmarks.bench import options_of

DESCRIPTION = Path(__file__).parents[2] / "benchmarks" / "gateways" / "aibridge.json"
CORE = str(min(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ""
HERE = ["--no-nginx", "--gateway-cores", CORE, "--load-cores", CORE]

pytestmark = pytest.mark.skipif(not CORE, reason="the benchmark needs Linux")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--quick", "--reconcile", str(DESCRIPTION)],
        ["--reconcile", str(DESCRIPTION), "--quick"],
        [str(DESCRIPTION), "--quick", "--reconcile"],
    ],
)
def test_a_description_may_stand_behind_any_option(arguments: list[str]) -> None:
    options = options_of([*HERE, *arguments])

    assert (options.quick, options.reconcile, options.gateways) == (True, True, [DESCRIPTION])


def test_gateways_may_stand_on_both_sides_of_an_option_and_keep_their_order() -> None:
    other = DESCRIPTION.with_name("aibridge-with-tools.json")
    options = options_of([*HERE, str(DESCRIPTION), "--rounds", "2", str(other)])

    assert (options.rounds, options.gateways) == (2, [DESCRIPTION, other])


@pytest.mark.parametrize("arguments", [["--kill"], ["--count-command", "count {database}"]])
def test_what_needs_the_ledger_compares_with_it(arguments: list[str]) -> None:
    assert options_of([*HERE, *arguments, str(DESCRIPTION)]).reconcile


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--reconcile", "nowhere.json"], "no description of a gateway: nowhere.json"),
        (["--reconcile", str(DESCRIPTION.parent)], "no description of a gateway: "),
        (["--scenarios", "json50,nothing"], "no such scenario: nothing"),
    ],
)
def test_what_cannot_be_is_a_usage_error(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options_of([*HERE, *arguments])

    assert ended.value.code == 2
    assert said in capsys.readouterr().err

"""Which steps script/setup takes from what an environment's stamp says."""

import pytest

from script.environments import Step, steps

RUN = {"base": "python 3.11 here", "lock": "run:1", "package": "pyproject 1"}
DEV = {**RUN, "lock": "dev:1"}
SIDE = {**RUN, "lock": "old-sdks:1", "package": ""}


@pytest.mark.parametrize(
    ("have", "want", "expected"),
    [
        pytest.param({}, RUN, ["make", "install", "package"], id="nothing, or not finished"),
        pytest.param(RUN, RUN, [], id="as it should be"),
        pytest.param(RUN, DEV, ["install"], id="the demo's, and the tests want more"),
        pytest.param(
            RUN, {**DEV, "package": "pyproject 2"}, ["install", "package"], id="the demo's, and a new project"
        ),
        pytest.param(DEV, {**DEV, "package": "pyproject 2"}, ["package"], id="a new project"),
        pytest.param(DEV, {**DEV, "lock": "dev:2"}, ["make", "install", "package"], id="a new lock"),
        pytest.param(RUN, {**RUN, "base": "python 3.12"}, ["make", "install", "package"], id="another Python"),
        pytest.param(DEV, {**DEV, "base": "moved"}, ["make", "install", "package"], id="a moved checkout"),
        pytest.param({}, SIDE, ["make", "install"], id="a side environment without aibridge"),
        pytest.param(SIDE, SIDE, [], id="a side environment as it should be"),
    ],
)
def test_setup_does_what_is_missing_and_no_more(
    have: dict[str, str], want: dict[str, str], expected: list[Step]
) -> None:
    assert steps(have, want, run_lock="run:1") == expected

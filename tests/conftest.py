"""What every test gets: asyncio as the one event loop, one printed seed, and two hypothesis profiles."""

import os
import random

import pytest
from hypothesis import settings

# AIBRIDGE_TEST_SEED=N repeats a run: hypothesis and the `seed` fixture both start from it.
_SEED = int(os.environ.get("AIBRIDGE_TEST_SEED") or random.SystemRandom().randrange(2**32))

# No deadline: the machines that run this are shared, and a slow example is not a wrong one.
settings.register_profile("dev", deadline=None, print_blob=True, max_examples=100)
settings.register_profile("ci", deadline=None, print_blob=True, max_examples=200)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=20, help="how often the kill test kills the gateway (20)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # Before the plugin of hypothesis reads its option.
    if config.getoption("--hypothesis-seed") is None:
        config.option.hypothesis_seed = str(_SEED)


def pytest_report_header() -> str:
    return f"seed: {_SEED} (AIBRIDGE_TEST_SEED={_SEED} repeats this run)"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    # `-q` leaves the header out.
    if exitstatus != 0:
        terminalreporter.write_line(pytest_report_header())


@pytest.fixture
def seed() -> int:
    """The run's seed, for tests that draw with `random.Random(seed)`."""
    return _SEED


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How often a gateway is killed."""
    count: int = request.config.getoption("--kills")
    return count


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"

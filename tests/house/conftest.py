"""What several stories of real agents share: the programs, installed once."""

from pathlib import Path

import pytest

from tests.house.agents import found_or_installed


@pytest.fixture(scope="session")
def agents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Where the programs are."""
    return found_or_installed(tmp_path_factory.mktemp("agents"))

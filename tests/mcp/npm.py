"""Programs that come from npm: taken from the PATH, or from the folder in $TEST_AGENTS, or else installed for the run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

INSTALLING = 120.0  # seconds


def programs(prefix: Path, packages: dict[str, str]) -> Path:
    """The folder with the programs (program to package). Skips the test where they cannot be had."""
    path = os.environ.get("TEST_AGENTS", os.environ["PATH"])
    found = [shutil.which(program, path=path) for program in packages]
    if found[0] is not None and len({Path(each).parent if each else None for each in found}) == 1:
        return Path(found[0]).parent
    if shutil.which("npm") is None:
        pytest.skip(f"neither {', '.join(packages)} nor npm to install them are here")
    command = ("npm", "install", "--no-audit", "--no-fund", "--fetch-retries=1", "--prefix", str(prefix))
    try:
        installed = subprocess.run(
            [*command, *packages.values()], capture_output=True, text=True, check=False, timeout=INSTALLING
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm does not come to an end")
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install {', '.join(packages)}: {installed.stderr.strip()[-300:]}")
    return prefix / "node_modules" / ".bin"

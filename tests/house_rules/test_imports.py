"""What is loaded when: an embedder gets a light library, and help comes without the server behind it."""

import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
# Used without an import of ours: uvicorn is told to take it by name.
BY_NAME = {"uvloop"}


def named(wishes: list[str]) -> set[str]:
    """The distributions that are asked for."""
    return {plain(Requirement(wish).name) for wish in wishes} - {"aibridge"}


def plain(name: str) -> str:
    return str(canonicalize_name(name))


def loaded_by(code: str) -> set[str]:
    """The distributions and standard modules of which `code` loads something, in a Python of its own."""
    command = [sys.executable, "-I", "-c", f"{code}\nimport sys; print(*{{m.partition('.')[0] for m in sys.modules}})"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    modules = said.splitlines()[-1].split()
    owners = packages_distributions()
    return {plain(name) for module in modules for name in owners.get(module, [module])}


CORE = named(PROJECT["dependencies"])
EXTRAS = {extra: named(wishes) - CORE for extra, wishes in PROJECT["optional-dependencies"].items()}
EVERYTHING = CORE.union(*EXTRAS.values())


def test_the_library_needs_none_of_the_extras() -> None:
    loaded = loaded_by("import aibridge; [getattr(aibridge, name) for name in aibridge.__all__]")

    assert loaded & (EXTRAS["server"] | EXTRAS["demo"]) == set()


def test_importing_the_package_loads_no_library() -> None:
    loaded = loaded_by("import aibridge")

    assert loaded & (EVERYTHING | {"asyncio", "ssl"}) == set()


def test_help_loads_neither_server_nor_database() -> None:
    help_ = "sys.argv = ['aibridge', '--help']\ntry: main()\nexcept SystemExit: pass"
    loaded = loaded_by(f"import sys; from aibridge.server.cli import main; {help_}")

    assert "typer" in loaded
    assert loaded & {"alembic", "anthropic", "httptools", "openai", "pydantic", "sqlalchemy", "uvicorn"} == set()


@pytest.mark.parametrize("wish", sorted(EVERYTHING - BY_NAME))
def test_what_is_asked_for_is_used(wish: str) -> None:
    modules = {module for module, names in packages_distributions().items() if wish in map(plain, names)}
    source = "".join(path.read_text() for path in (CHECKOUT / "src").rglob("*.py"))

    assert any(f"import {module}" in source or f"from {module}" in source for module in modules)

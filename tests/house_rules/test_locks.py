"""The locks install the same everywhere, from whatever index a machine is set up with."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[2]
LOCKS = ("run", "dev", "old-sdks")
REQUIREMENT = re.compile(r"([a-z0-9][a-z0-9-]*)==(\S+)(?: ; [^\\]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")
NOTE = re.compile(r"\s*#.*")


def lines_of(lock: str) -> list[str]:
    return (CHECKOUT / "requirements" / f"{lock}.txt").read_text().splitlines()


def pins_of(lock: str) -> dict[str, set[str]]:
    """Name -> versions (more than one only where a marker tells them apart)."""
    pins: dict[str, set[str]] = {}
    for line in lines_of(lock):
        if match := REQUIREMENT.fullmatch(line):
            pins.setdefault(match[1], set()).add(match[2])
    return pins


def asked_for(*groups: str) -> list[Requirement]:
    """What pyproject.toml asks for: the core, every extra, and the groups named."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    extras = [wish for wishes in project["project"]["optional-dependencies"].values() for wish in wishes]
    grouped = [wish for group in groups for wish in project["dependency-groups"][group] if isinstance(wish, str)]
    wishes = [Requirement(wish) for wish in project["project"]["dependencies"] + extras + grouped]
    return [wish for wish in wishes if canonicalize_name(wish.name) != "aibridge"]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_pins_hashes_and_notes_and_nothing_else(lock: str) -> None:
    lines = lines_of(lock)

    assert [line for line in lines if not any(form.fullmatch(line) for form in (REQUIREMENT, HASH, NOTE))] == []
    assert "://" not in "".join(lines)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_of_a_lock_has_a_hash(lock: str) -> None:
    lines = lines_of(lock)
    pinned = [number for number, line in enumerate(lines) if REQUIREMENT.fullmatch(line)]

    assert pinned
    assert [lines[number] for number in pinned if not HASH.fullmatch(lines[number + 1])] == []


def test_the_lock_of_the_demo_is_a_part_of_the_lock_of_the_tests() -> None:
    run, dev = pins_of("run"), pins_of("dev")

    assert {name: versions for name, versions in run.items() if dev.get(name) != versions} == {}


@pytest.mark.parametrize(("lock", "groups"), [("run", ("build",)), ("dev", ("build", "dev"))])
def test_a_lock_holds_all_that_the_project_asks_for(lock: str, groups: tuple[str, ...]) -> None:
    pins = pins_of(lock)

    for wish in asked_for(*groups):
        versions = pins.get(canonicalize_name(wish.name), set())
        assert versions, f"{wish} is not in requirements/{lock}.txt: run script/lock"
        assert all(wish.specifier.contains(version) for version in versions), f"{wish}: run script/lock"


def test_the_side_environment_holds_the_generation_before_the_one_of_the_demo() -> None:
    old, new = pins_of("old-sdks"), pins_of("dev")

    for sdk in ("anthropic", "openai"):
        (old_version,), (new_version,) = old[sdk], new[sdk]
        assert int(old_version.split(".")[0]) + 1 == int(new_version.split(".")[0])

"""The rules that every committed file keeps, whoever wrote it; what ruff, mypy and import-linter cannot say."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
LARGEST_FILE = 400  # lines; a longer one is two things
LARGEST_FUNCTION = 60  # lines; a screen

# Each is written so that it does not match itself.
REGISTRY = re.compile(
    r"pypi[.]org|pythonhosted[.]org|registry[.]npmjs|deb[.]debian[.]org|index[.]crates[.]io|proxy[.]golang[.]org"
)
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|farm)[/]|/opt[/]wheels\b|[.][.]/shared\b")
SUPPRESSION = re.compile(r"#\s*(?:type:\s*ignore|noqa|pragma:|pyright:|mypy:|ruff:)")
REASONED = re.compile(
    r"#\s*(?:type:\s*ignore\[[\w, -]+\]|(?:ruff: )?noqa: [A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)*)\s+[-#]?\s*\W?\w+\W+\w+"
)
ROOM_FOR_EVERYTHING = re.compile(r"(?:utils?|helpers?|common|misc|managers?)[.]py")
VAGUE_NAME = re.compile(r"(?:Manager|Handler|Helper|Utils?)$|^Base[A-Z]|^Abstract")

if not (CHECKOUT / ".git").exists():
    pytest.skip("not a git checkout: nothing says which files are ours", allow_module_level=True)


def committed(*patterns: str) -> list[Path]:
    """The files under version control that are still there."""
    command = ["git", "ls-files", "-z", "--", *patterns]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := CHECKOUT / name).is_file()]


def lines_of(*patterns: str) -> Iterator[tuple[str, str]]:
    """Every line with its place."""
    for path in committed(*patterns):
        for number, line in enumerate(path.read_bytes().decode("utf-8", errors="replace").splitlines(), 1):
            yield f"{path.relative_to(CHECKOUT)}:{number}", line


def nodes_of(*patterns: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node of the Python files with its place."""
    for path in committed(*patterns):
        for node in ast.walk(ast.parse(path.read_bytes())):
            yield f"{path.relative_to(CHECKOUT)}:{getattr(node, 'lineno', 1)}", node


def test_the_tree_is_seen() -> None:
    assert CHECKOUT / "src" / "aibridge" / "__init__.py" in committed("src")


def test_no_file_names_the_host_of_a_package_registry() -> None:
    assert [place for place, line in lines_of() if REGISTRY.search(line)] == []


def test_no_file_carries_a_path_of_the_machine_it_was_written_on() -> None:
    assert [place for place, line in lines_of() if MACHINE_PATH.search(line)] == []


def test_every_suppression_names_its_rule_and_its_reason() -> None:
    here = str(Path(__file__).relative_to(CHECKOUT))  # holds examples

    assert [
        place
        for place, line in lines_of("*.py")
        if SUPPRESSION.search(line) and not REASONED.search(line) and not place.startswith(here)
    ] == []


def test_no_source_file_outgrows_its_limit() -> None:
    sizes = {path.name: len(path.read_bytes().splitlines()) for path in committed("src/*.py", "script/*.py")}

    assert {name: size for name, size in sizes.items() if size > LARGEST_FILE} == {}


def test_every_function_fits_a_screen() -> None:
    long = [
        f"{place} {node.name}"
        for place, node in nodes_of("src/*.py", "script/*.py")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= LARGEST_FUNCTION
    ]

    assert long == []


def test_no_module_and_no_class_has_a_name_that_says_nothing() -> None:
    modules = [path.name for path in committed("src/*.py") if ROOM_FOR_EVERYTHING.fullmatch(path.name)]
    classes = [
        f"{place} {node.name}"
        for place, node in nodes_of("src/*.py")
        if isinstance(node, ast.ClassDef) and VAGUE_NAME.search(node.name)
    ]

    assert modules + classes == []


def test_no_state_is_shared_by_two_bridges_through_a_global_statement() -> None:
    assert [place for place, node in nodes_of("src/*.py") if isinstance(node, ast.Global)] == []


def test_no_package_is_made_of_the_tests() -> None:
    assert committed("tests/*__init__.py") == []


def test_every_folder_of_the_package_is_a_package() -> None:
    """One without `__init__.py` is imported all the same, and import-linter does not see it."""
    folders = {path.parent for path in committed("src/*.py")}

    assert [folder.relative_to(CHECKOUT) for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize(
    ("line", "passes"),
    [
        ("x = f()  # noqa: S101  the shape was checked above", True),
        ("# ruff: noqa: S608 - only constants of this file are put together", True),
        ("x = f()  # type: ignore[arg-type]  # narrower there than ASGI says", True),
        ("x = f()  # noqa: PERF401  # `extend` would lose what came before", True),
        ("x = f()  # noqa: S101, E731", False),
        ("x = f()  # noqa", False),
        ("x = f()  # type: ignore[arg-type]", False),
        ("x = f()  # type: ignore  # it is fine", False),
    ],
)
def test_a_reason_is_known_from_a_rule(line: str, passes: bool) -> None:
    assert SUPPRESSION.search(line)
    assert bool(REASONED.search(line)) is passes

"""Lists what runs or lies in an environment's site-packages without a package that answers for it.

Every .pth file runs code at each start of Python: each is listed, and one that is not expected fails. A file that no
RECORD names came from nowhere: each fails. Use: site_packages.py ENVIRONMENT...
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

EXPECTED_PTH = {
    "_editable_impl_aibridge.pth",  # our own package, installed in place
    "distutils-precedence.pth",  # setuptools, which venv brings before CPython 3.12
}


def main() -> None:
    """Print what was found; fail when one of it should not be there."""
    strange = [finding for name in sys.argv[1:] for finding in findings(Path(name))]
    for finding in strange:
        print(f"site-packages: {finding}")
    sys.exit(bool(strange) or len(sys.argv) == 1)


def findings(environment: Path) -> Iterator[str]:
    """What should not be there."""
    roots = list(environment.glob("lib/python3*/site-packages"))
    if len(roots) != 1:
        yield f"{environment} is no environment with one site-packages"
        return
    root = roots[0].resolve()
    recorded = set(recorded_files(root))
    found = sorted(path for path in root.rglob("*") if path.is_file())
    for path in found:
        if path.suffix == ".pth":
            print(f"site-packages: {environment} runs {path.name}")
            if path.name not in EXPECTED_PTH:
                yield f"{environment} runs {path.name}, which nobody expects"
        if source_of(path) not in recorded and path not in recorded:
            yield f"{environment} holds {path.relative_to(root)}, which no RECORD names"
    print(f"site-packages: {environment} holds {len(found)} files; RECORDs name {len(recorded)}")


def recorded_files(root: Path) -> Iterator[Path]:
    """Every file that an installed package says it put there."""
    for record in root.glob("*.dist-info/RECORD"):
        with record.open(newline="") as lines:
            for name, *_ in csv.reader(lines):
                # Scripts are recorded as ../../../bin/x; the ones here need no resolving.
                yield (root / name).resolve() if name.startswith("..") else root / name


def source_of(path: Path) -> Path:
    """The module that a cached .pyc was made from: __pycache__/x.cpython-311.pyc comes from x.py."""
    if path.suffix == ".pyc" and path.parent.name == "__pycache__":
        return path.parent.parent / f"{path.name.split('.')[0]}.py"
    return path


if __name__ == "__main__":
    main()

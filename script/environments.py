"""Makes .venv (and .venv-old-sdks) from the locks; called by script/setup.

A stamp written last says what an environment was made from. One without a stamp, or with another one, is made again
from nothing; only the step from the lock `run` to the lock `dev`, which holds it, and a changed pyproject.toml are
done in place. One process at a time works here: the file lock falls when its holder and the pip that it started are
gone, however they went.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Literal

CHECKOUT = Path(__file__).resolve().parent.parent
# Where an environment is active, the interpreter that it was made from: it may be the one that is made again here.
PYTHON = Path(sys.executable).resolve()
STAMP = "made-from"
Step = Literal["make", "install", "package"]


def main() -> None:
    """Make what `run` or `dev` asks for."""
    if len(sys.argv) != 2 or sys.argv[1] not in {"run", "dev"}:
        sys.exit("usage: script/setup [run|dev]")
    kind = sys.argv[1]
    with (CHECKOUT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock.fileno(), True)
        prepare(CHECKOUT / ".venv", kind)
        if kind == "dev":
            prepare(CHECKOUT / ".venv-old-sdks", "old-sdks")


def prepare(environment: Path, kind: str) -> None:
    """Bring one environment to what its lock says."""
    stamp, python = environment / STAMP, environment / "bin" / "python"
    have = read(stamp) if python.exists() else {}
    if kind == "run" and have.get("lock") == locked("dev"):
        kind = "dev"  # holds all of `run`, and whoever made it wants to keep it
    want = {"base": base_of(environment), "lock": locked(kind), "package": package_of(kind)}
    for step in steps(have, want, run_lock=locked("run")):
        stamp.unlink(missing_ok=True)
        match step:
            case "make":
                say(f"making {environment.name}")
                shutil.rmtree(environment, ignore_errors=True)
                run(PYTHON, "-m", "venv", environment, hint="on Debian: apt-get install python3-venv")
            case "install":
                say(f"installing requirements/{kind}.txt into {environment.name}")
                run(*pip(python), "--only-binary", ":all:", "--require-hashes", "-r", f"requirements/{kind}.txt")
            case "package":
                run(*pip(python), "--no-deps", "--no-build-isolation", "--editable", ".")
    if have != want:
        stamp.write_text("".join(f"{name} {value}\n" for name, value in want.items()))


def steps(have: dict[str, str], want: dict[str, str], *, run_lock: str) -> list[Step]:
    """What leads from what the stamp says to what is wanted; nothing where they are the same."""
    kept = have.get("base") == want["base"] and have.get("lock") in {want["lock"], run_lock}
    had = have if kept else {}
    todo: list[Step] = [] if kept else ["make"]
    if had.get("lock") != want["lock"]:
        todo.append("install")
    if want["package"] and had.get("package") != want["package"]:
        todo.append("package")
    return todo


def base_of(environment: Path) -> str:
    """The interpreter and the place: an environment cannot be moved, its scripts name its path."""
    return digest(sys.version.encode(), bytes(PYTHON), bytes(environment))


def locked(kind: str) -> str:
    """The checksum of the lock's pins and hashes under its name; its notes install nothing."""
    lines = (CHECKOUT / "requirements" / f"{kind}.txt").read_bytes().splitlines()
    return f"{kind}:{digest(*(line for line in lines if not line.lstrip().startswith(b'#')))}"


def package_of(kind: str) -> str:
    """What the editable install was made from; the side environment holds no aibridge."""
    if kind == "old-sdks":
        return ""
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    return digest(repr([settings["build-system"], settings["project"], settings["tool"]["hatch"]]).encode())


def digest(*parts: bytes) -> str:
    """One checksum of several values."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def read(stamp: Path) -> dict[str, str]:
    """What the environment was made from; nothing where it was not finished."""
    try:
        lines = stamp.read_text().splitlines()
    except OSError:
        return {}
    return {name: value for name, _, value in (line.partition(" ") for line in lines)}


def pip(python: Path) -> list[str | Path]:
    """`pip install` of the environment, without a word about newer pips and without a prompt."""
    return [python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]


def run(*command: str | Path, hint: str = "") -> None:
    """Run to success, or end with what failed."""
    # What another environment set for its own python or pip must not leak into this one.
    environ = {k: v for k, v in os.environ.items() if k not in {"PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_USER"}}
    if (code := subprocess.run(command, cwd=CHECKOUT, env=environ, close_fds=False, check=False).returncode) != 0:
        sys.exit(f"script/setup: {' '.join(map(str, command))} failed with status {code}{hint and f' ({hint})'}")


def say(what: str) -> None:
    """Tell whoever waits."""
    print(f"script/setup: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

"""Values as people write them: durations, sizes, secrets. Each says what it takes when it is given something else."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from aibridge.credentials import Secret

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, None: 1.0}
_SIZE = re.compile(r"(\d+)\s*(B|kB|KB|KiB|MB|MiB|GB|GiB)?")
_BYTES = {
    "B": 1, "kB": 1000, "KB": 1000, "KiB": 1024, "MB": 1000**2, "MiB": 1024**2, "GB": 1000**3, "GiB": 1024**3, None: 1,
}  # fmt: skip


def seconds(value: object) -> float:
    """`"300s"`, `"10m"`, `"60d"` or a number of seconds."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a duration such as "30s", "10m", "24h" or "60d"')
    return float(found[1]) * _SECONDS[found[2]]


def size(value: object) -> int:
    """`"32MiB"` or a number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a size such as "512KiB", "32MiB" or a number of bytes')
    return int(found[1]) * _BYTES[found[2]]


def words(value: object) -> object:
    """A list, or in the environment its members with commas between them."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(seconds)]
Size = Annotated[int, BeforeValidator(size)]
Words = Annotated[list[str], BeforeValidator(words)]


class Unresolved(ValueError):
    """A secret that is named but not there. The text names the place, never a value."""


def resolved(reference: str, environ: Mapping[str, str] = os.environ, base: Path | None = None) -> Secret:
    """The secret behind `env:NAME`, `file:PATH` (relative to the configuration file), or the value itself.

    Raises: Unresolved.
    """
    kind, _, rest = reference.partition(":")
    if kind == "env":
        if not environ.get(rest):
            raise Unresolved(f"the environment variable {rest} is not set")
        return Secret(environ[rest].strip())
    if kind == "file":
        path = Path(rest).expanduser()
        path = path if path.is_absolute() or base is None else base / path
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise Unresolved(f"the file {path} cannot be read ({why})") from None
        if not text:
            raise Unresolved(f"the file {path} is empty")
        return Secret(text)
    return Secret(reference)

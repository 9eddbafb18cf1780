"""The files that a configuration is made of, and whether one of them has changed: looked at, since that works everywhere.

A file that is being replaced or written is not read: it has to have stayed the same between two looks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from aibridge.server.config import Configuration

EVERY = 1.0  # seconds between two looks
_SETTLING = 10  # looks; who writes for longer is read in the midst of it, which changes nothing if it cannot be read

State = tuple[int, int, int] | None
"""Of one file: when it was written, which one it is, and how long. A mounted secret is another file when it changes."""


def files_of(configuration: Configuration) -> frozenset[Path]:
    """The file itself, and those that it names for secrets, certificates and credentials."""
    settings, base = configuration.settings, configuration.base
    named = [text.removeprefix("file:") for text in _texts(settings.model_dump()) if text.startswith("file:")]
    for table in (settings.upstream, *settings.providers):
        named += [getattr(table, name, None) or "" for name in ("ca_bundle", "client_cert", "client_key")]
    named += [table.vertex.credentials_file or "" for table in settings.providers if table.vertex is not None]
    found = {base / Path(path).expanduser() for path in named if path}
    return frozenset(found if configuration.file is None else {*found, configuration.file})


class FileWatch:
    """Of a set of files, which may be exchanged. `every` is in seconds."""

    def __init__(self, files: Iterable[Path], every: float = EVERY) -> None:
        self._every = every
        self._states = _states(files)

    def watch(self, files: Iterable[Path]) -> None:
        """From now on these. What a file that was watched already was like when a change was last told, stays."""
        self._states = {path: self._states[path] if path in self._states else _state(path) for path in files}

    async def changed(self) -> None:
        """Returns when a file has changed since it was last told of, and stands still."""
        while True:
            await asyncio.sleep(self._every)
            now = await asyncio.to_thread(_states, self._states)
            if now != self._states:
                break
        for _ in range(_SETTLING):
            await asyncio.sleep(self._every)
            before, now = now, await asyncio.to_thread(_states, self._states)
            if now == before:
                break
        self._states = now


def _states(files: Iterable[Path]) -> dict[Path, State]:
    return {path: _state(path) for path in files}


def _state(path: Path) -> State:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)

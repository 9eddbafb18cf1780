"""The definitions that tools were first seen with, in the SQLite file: there for the next start, and for every process.

Read and written in a thread, in short transactions under the file's write lock: a list is read every few minutes.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from contextlib import closing

from aibridge.database.files import DatabaseFile, DatabaseUnusable
from aibridge.database.moments import as_text
from aibridge.errors import RecordingFailed
from aibridge.ports import Clock

_ALL = "SELECT tool, accepted, seen FROM aibridge_mcp_tools WHERE server = ?"
_FIRST = (
    "INSERT INTO aibridge_mcp_tools (server, tool, accepted, seen, first_seen_at, seen_at) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)
_SEEN = "UPDATE aibridge_mcp_tools SET seen = ?, seen_at = ? WHERE server = ? AND tool = ?"
_ACCEPT = "UPDATE aibridge_mcp_tools SET accepted = seen WHERE server = ? AND tool = ?"
_MOST = 10_000  # tools of a server that are remembered; one that makes up names must not fill the disk


class SqlitePins:
    """See `aibridge.tool_ports.Pins`."""

    def __init__(self, file: DatabaseFile, clock: Clock) -> None:
        self._file = file
        self._clock = clock

    async def changed(self, server: str, definitions: Mapping[str, str]) -> frozenset[str]:
        try:
            return await asyncio.to_thread(self._changed, server, definitions)
        except (sqlite3.Error, DatabaseUnusable, OSError) as error:
            raise RecordingFailed(f"what tools looked like cannot be read: {error}") from error

    def _changed(self, server: str, definitions: Mapping[str, str]) -> frozenset[str]:
        with closing(self._file.connection()) as connection:
            known = {tool: (accepted, seen) for tool, accepted, seen in connection.execute(_ALL, (server,))}
        new = [tool for tool in definitions if tool not in known][: max(0, _MOST - len(known))]
        moved = [tool for tool, seen in definitions.items() if tool in known and known[tool][1] != seen]
        if new or moved:
            now = as_text(self._clock.now())
            with self._file.writing() as connection:
                for tool in new:
                    connection.execute(_FIRST, (server, tool, definitions[tool], definitions[tool], now, now))
                for tool in moved:
                    connection.execute(_SEEN, (definitions[tool], now, server, tool))
        return frozenset(tool for tool, seen in definitions.items() if tool in known and known[tool][0] != seen)

    async def accept(self, server: str, tool: str | None = None) -> list[str]:
        try:
            return await asyncio.to_thread(self._accept, server, tool)
        except (sqlite3.Error, DatabaseUnusable, OSError) as error:
            raise RecordingFailed(f"the database cannot be written: {error}") from error

    def _accept(self, server: str, tool: str | None) -> list[str]:
        with self._file.writing() as connection:
            changed = [
                name
                for name, accepted, seen in connection.execute(_ALL, (server,)).fetchall()
                if accepted != seen and tool in (None, name)
            ]
            for name in changed:
                connection.execute(_ACCEPT, (server, name))
        return sorted(changed)

"""The doors behind a toolbox of ours: who watches its servers, and who remembers what they offered.

A request knows none of them, it asks a `Toolbox`; the rule of all doors (see `aibridge.ports`) holds here too.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol


class ToolboxObserver(Protocol):
    """Watches servers of injected tools. The same rule as for `Observer`: quick, and nothing is raised."""

    def reached(self, server: str, *, up: bool) -> None:
        """A server that could not be reached can be now, or the other way round; also the first time."""

    def sessions(self, server: str, count: int) -> None:
        """So many connections to it are open, or being opened."""

    def called(self, server: str, outcome: str, seconds: float) -> None:
        """A call is over: it `completed`, `failed`, or was `cancelled` by whoever had asked for it."""

    def changed(self, server: str) -> None:
        """The definition of one of its tools is not the one that was first seen."""


class Connecting(Protocol):
    """Follows how servers of injected tools are connected to. The same rule: quick, and nothing is raised."""

    def connecting(self, server: str, url: str | None) -> AbstractContextManager[None]:
        """In the block a server is connected to, for the first time or again, and asked for its list."""

    def listing(self) -> AbstractContextManager[None]:
        """In the block, which is in one of `connecting`, the list is read."""


class Pins(Protocol):
    """Knows the definitions that tools were first seen with. Definitions are told by their fingerprints."""

    async def changed(self, server: str, definitions: Mapping[str, str]) -> frozenset[str]:
        """Which of a server's tools (name to fingerprint) are not as they were first seen, or accepted since.

        What was never seen is accepted as it is.

        Raises:
            RecordingFailed: nobody can say.
        """

    async def accept(self, server: str, tool: str | None = None) -> list[str]:
        """Accepts the changed definition of a tool, or of all of a server's, as it was last seen; their names.

        Raises:
            RecordingFailed: it was not.
        """

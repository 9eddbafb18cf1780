"""The definitions that tools were first seen with, in memory: for hosts without a database, and for tests."""

from __future__ import annotations

from collections.abc import Mapping


class MemoryPins:
    """See `aibridge.tool_ports.Pins`. It grows with every tool that was ever seen."""

    def __init__(self) -> None:
        self._accepted: dict[tuple[str, str], str] = {}
        self._seen: dict[tuple[str, str], str] = {}

    async def changed(self, server: str, definitions: Mapping[str, str]) -> frozenset[str]:
        changed = set()
        for tool, definition in definitions.items():
            self._seen[server, tool] = definition
            if self._accepted.setdefault((server, tool), definition) != definition:
                changed.add(tool)
        return frozenset(changed)

    async def accept(self, server: str, tool: str | None = None) -> list[str]:
        accepted = []
        for (name, one), definition in self._seen.items():
            if name == server and tool in (None, one) and self._accepted[name, one] != definition:
                self._accepted[name, one] = definition
                accepted.append(one)
        return sorted(accepted)

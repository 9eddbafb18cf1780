"""Owners of stored ids, in memory: for hosts without a database, and for tests. A restart forgets them."""

from __future__ import annotations

from collections.abc import Sequence


class MemoryConversationStore:
    """A `ConversationStore`. It grows with every id; the owner is forgotten with the object."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, str], str] = {}

    async def own(self, provider_name: str, ids: Sequence[str], actor_id: str) -> None:
        for stored_id in ids:
            self._owners.setdefault((provider_name, stored_id), actor_id)

    async def owner(self, provider_name: str, stored_id: str) -> str | None:
        return self._owners.get((provider_name, stored_id))

"""Owners of stored ids and held turns, in memory: for hosts without a database, and for tests. A restart forgets them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from aibridge.dialects.turns import Anchor, Hidden
from aibridge.errors import RecordingFailed
from aibridge.ports import HeldFor

MOST_HELD = 64 * 1024 * 1024
"""How much is held for one actor, in bytes."""

_Place = tuple[HeldFor, str]  # whose, and the reply


class MemoryConversationStore:
    """A `ConversationStore`. It grows with every id; what is held for one actor is bounded, the oldest use goes first."""

    def __init__(self, *, most_held: int = MOST_HELD) -> None:
        self._owners: dict[tuple[str, str], str] = {}
        self._most_held = most_held
        self._held: dict[str, OrderedDict[_Place, Hidden]] = {}  # by actor, the last used at the end
        self._anchored: dict[tuple[HeldFor, Anchor], dict[str, None]] = {}  # reply ids, the oldest first
        self._last_ids: dict[tuple[str, str, str], str] = {}  # by actor, provider and first id

    async def own(self, provider_name: str, ids: Sequence[str], actor_id: str) -> None:
        for stored_id in ids:
            self._owners.setdefault((provider_name, stored_id), actor_id)

    async def owner(self, provider_name: str, stored_id: str) -> str | None:
        return self._owners.get((provider_name, stored_id))

    def may_hold(self, actor_id: str) -> bool:
        return actor_id in self._held

    async def hold(self, held_for: HeldFor, reply_id: str, hidden: Hidden) -> None:
        if _size(hidden) > self._most_held:
            raise RecordingFailed("what is to be held of this reply is larger than what is held for one person")
        of_actor = self._held.setdefault(held_for.actor_id, OrderedDict())
        before = of_actor.pop((held_for, reply_id), None)
        if before is not None:
            self._drop((held_for, reply_id), before)
        of_actor[held_for, reply_id] = hidden
        for anchor in hidden.anchors:
            self._anchored.setdefault((held_for, anchor), {})[reply_id] = None
        if hidden.upstream_id is not None:
            first, last = hidden.upstream_id
            self._last_ids[held_for.actor_id, held_for.provider_name, first] = last
        while sum(map(_size, of_actor.values())) > self._most_held:
            self._drop(*of_actor.popitem(last=False))

    async def held(self, held_for: HeldFor, anchors: Sequence[Anchor]) -> Mapping[Anchor, Sequence[Hidden]]:
        of_actor = self._held.get(held_for.actor_id, OrderedDict())
        found: dict[Anchor, Sequence[Hidden]] = {}
        for anchor in anchors:
            replies = self._anchored.get((held_for, anchor))
            if replies:
                found[anchor] = [of_actor[held_for, reply_id] for reply_id in reversed(replies)]
                for reply_id in replies:
                    of_actor.move_to_end((held_for, reply_id))
        return found

    async def resolved(self, held_for: HeldFor, stored_id: str) -> str:
        return self._last_ids.get((held_for.actor_id, held_for.provider_name, stored_id), stored_id)

    def _drop(self, place: _Place, hidden: Hidden) -> None:
        held_for, reply_id = place
        for anchor in hidden.anchors:
            replies = self._anchored.get((held_for, anchor), {})
            replies.pop(reply_id, None)
            if not replies:
                self._anchored.pop((held_for, anchor), None)


def _size(hidden: Hidden) -> int:
    return len(hidden.content) + sum(map(len, hidden.anchors))

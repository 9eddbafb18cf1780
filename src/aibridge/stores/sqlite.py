"""The conversation store in the SQLite file: written by the one writer thread, read where it is asked.

An owner never changes, so what was read once may be remembered; that an id has no owner may change at any moment.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial

from aibridge.database.files import DatabaseFile
from aibridge.database.inbox import Entry
from aibridge.database.moments import as_text
from aibridge.database.statements import insert
from aibridge.database.writer import Writer
from aibridge.dialects.turns import Anchor, Hidden
from aibridge.errors import RecordingFailed
from aibridge.ports import Clock, HeldFor
from aibridge.sealing import Cipher
from aibridge.stores.held_turns import MOST_HELD, HeldTurns

_OWNED = insert("aibridge_stored_ids", "provider_name stored_id actor_id created_at", rank=1)
_OWNER = "SELECT actor_id FROM aibridge_stored_ids WHERE provider_name = ? AND stored_id = ?"
_REMEMBERED = 4096  # owners; about half a megabyte
_PATIENCE = 5.0  # seconds that durability is waited for
_LONGEST = 512  # characters; no provider's ids come near it
_SIZE = 512  # bytes that an entry holds while it waits, about


class SqliteConversationStore:
    """A `ConversationStore`; `close` it. `cipher` makes what is held unreadable; `most_held` is in bytes, for an actor."""

    def __init__(
        self, file: DatabaseFile, writer: Writer, clock: Clock, cipher: Cipher, *, most_held: int = MOST_HELD
    ) -> None:
        self._file = file
        self._writer = writer
        self._clock = clock
        self._reading = file.reading()
        self._held = HeldTurns(file, self._reading, writer, clock, cipher, most_held=most_held)
        self._owners: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def own(self, provider_name: str, ids: Sequence[str], actor_id: str) -> None:
        if not ids:
            return
        if any(len(stored_id) > _LONGEST or not stored_id.isascii() for stored_id in ids):
            raise RecordingFailed("an id of the provider's is not one that can be kept")
        now = as_text(self._clock.now())
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entries = [Entry(_OWNED, partial(tuple, (provider_name, one, actor_id, now)), _SIZE) for one in ids]
        entries[-1].waiter = durable  # when the last is durable, so are those before it
        for entry in entries:
            self._writer.put(entry)
        try:
            await asyncio.wait_for(durable, _PATIENCE)
        except TimeoutError:
            raise RecordingFailed(f"the owner of a stored id was not durable within {_PATIENCE:g} s") from None

    async def owner(self, provider_name: str, stored_id: str) -> str | None:
        key = (provider_name, stored_id)
        known = self._owners.get(key)
        if known is not None:
            self._owners.move_to_end(key)
            return known
        try:
            row = self._reading.execute(_OWNER, key).fetchone()
        except (sqlite3.Error, UnicodeEncodeError):
            # Nobody's, as far as anybody can say now: the caller refuses, which is the safe side.
            return None
        if row is None:
            return None
        self._owners[key] = str(row[0])
        if len(self._owners) > _REMEMBERED:
            self._owners.popitem(last=False)
        return self._owners[key]

    def may_hold(self, actor_id: str) -> bool:
        return self._held.may_hold(actor_id)

    async def hold(self, held_for: HeldFor, reply_id: str, hidden: Hidden) -> None:
        await self._held.hold(held_for, reply_id, hidden)

    async def held(self, held_for: HeldFor, anchors: Sequence[Anchor]) -> Mapping[Anchor, Sequence[Hidden]]:
        return await self._held.held(held_for, anchors)

    async def resolved(self, held_for: HeldFor, stored_id: str) -> str:
        return await self._held.resolved(held_for, stored_id)

    def close(self) -> None:
        self._held.close()
        self._file.close_reading(self._reading)

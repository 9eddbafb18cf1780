"""Held turns in the SQLite file: what clients did not see of their replies, encrypted, bounded for each actor.

Only the process that runs a reply writes what is held of it, so a row of the size that was read before is the same row.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial

import msgspec

from aibridge.database.files import DatabaseFile
from aibridge.database.inbox import Entry
from aibridge.database.moments import as_text
from aibridge.database.statements import Statement, insert
from aibridge.database.writer import Writer
from aibridge.dialects.turns import Anchor, Hidden
from aibridge.errors import RecordingFailed
from aibridge.ports import Clock, HeldFor
from aibridge.sealing import Cipher

MOST_HELD = 64 * 1024 * 1024
"""How much is held for one actor, in bytes."""
KEPT = timedelta(days=30)
"""How long something is held after its last use."""

HELD = Statement(
    name="aibridge_held_turns",
    before="INSERT INTO aibridge_held_turns (id, actor_id, provider_name, dialect, content, size, created_at, used_at) VALUES",
    columns=8,
    after="ON CONFLICT (id) DO UPDATE SET content = excluded.content, size = excluded.size, used_at = excluded.used_at"
    " WHERE actor_id = excluded.actor_id",
    rank=1,
)
ANCHOR = insert("aibridge_held_anchors", "actor_id provider_name dialect anchor held_id", rank=2)
LAST_ID = Statement(
    name="aibridge_last_response_ids",
    before="INSERT INTO aibridge_last_response_ids (actor_id, provider_name, first_id, last_id, created_at) VALUES",
    columns=5,
    after="ON CONFLICT (actor_id, provider_name, first_id) DO UPDATE SET last_id = excluded.last_id",
    rank=2,
)
USED = Statement(
    name="aibridge_held_turns",
    before="UPDATE aibridge_held_turns SET used_at = use.column2 FROM (VALUES",
    columns=2,
    after=") AS use WHERE aibridge_held_turns.id = use.column1 AND used_at < use.column2",
    rank=3,
)

_ANY = "SELECT EXISTS (SELECT 1 FROM aibridge_held_turns) OR EXISTS (SELECT 1 FROM aibridge_last_response_ids)"
_ANY_OF_ACTOR = """SELECT EXISTS (SELECT 1 FROM aibridge_held_turns WHERE actor_id = ?1)
 OR EXISTS (SELECT 1 FROM aibridge_last_response_ids WHERE actor_id = ?1)"""
_ANCHORED = """SELECT anchor, id, size, used_at FROM aibridge_held_anchors JOIN aibridge_held_turns ON id = held_id
 WHERE aibridge_held_anchors.actor_id = ? AND aibridge_held_anchors.provider_name = ?
 AND aibridge_held_anchors.dialect = ? AND anchor IN ({}) AND used_at >= ? ORDER BY created_at DESC, id DESC"""
_CONTENT = "SELECT content FROM aibridge_held_turns WHERE id = ?"
_LAST = "SELECT last_id FROM aibridge_last_response_ids WHERE actor_id = ? AND provider_name = ? AND first_id = ?"
_TOO_OLD = "DELETE FROM aibridge_held_turns WHERE used_at < ? RETURNING id"
_TOO_MUCH = """DELETE FROM aibridge_held_turns WHERE id IN (
 SELECT id FROM (SELECT id, sum(size) OVER (ORDER BY used_at DESC, id DESC) AS total
 FROM aibridge_held_turns WHERE actor_id = ?) WHERE total > ?) RETURNING id"""
_NO_LONGER = "DELETE FROM aibridge_held_anchors WHERE held_id = ?"
_OLD_LAST_IDS = "DELETE FROM aibridge_last_response_ids WHERE created_at < ?"

_AT_ONCE = 500  # anchors in one question
_PATIENCE = 5.0  # seconds that durability is waited for
_REMEMBERED = 16 * 1024 * 1024  # bytes of opened content, of all actors
_USE_IS_NOTED_AFTER = timedelta(hours=1)
_SIZE = 512  # bytes that a row without content holds while it waits, about
_HIDDEN = msgspec.msgpack.Decoder(Hidden)


class HeldTurns:
    """What the conversation store knows of held turns. `reading` is a connection of the same file."""

    def __init__(
        self,
        file: DatabaseFile,
        reading: sqlite3.Connection,
        writer: Writer,
        clock: Clock,
        cipher: Cipher,
        *,
        most_held: int = MOST_HELD,
    ) -> None:
        self._reading = reading
        self._writer = writer
        self._clock = clock
        self._cipher = cipher
        self._most_held = most_held
        self._mark = file.change_mark("held")
        self._seen = b""
        self._any = False
        self._opened: OrderedDict[tuple[str, int], Hidden] = OrderedDict()  # by id and size
        self._remembered = 0
        self._trimming = self._trim  # one object, so that the writer sees that it is the same work

    def may_hold(self, actor_id: str) -> bool:
        """Costs next to nothing as long as nobody has anything held."""
        try:
            seen = self._mark.seen()
            if not self._any and seen != self._seen:
                self._any = bool(self._reading.execute(_ANY).fetchone()[0])
                self._seen = seen
                if self._any:
                    self._writer.put_later(self._trimming, actor_id)  # nobody else drops what is too old
            return self._any and bool(self._reading.execute(_ANY_OF_ACTOR, (actor_id,)).fetchone()[0])
        except (sqlite3.Error, UnicodeEncodeError):
            return True  # whoever asks further finds nothing, or what there is

    async def hold(self, held_for: HeldFor, reply_id: str, hidden: Hidden) -> None:
        content = msgspec.msgpack.encode(hidden)
        if len(content) > self._most_held:
            raise RecordingFailed("what is to be held of this reply is larger than what is held for one person")
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entries = self._entries(held_for, reply_id, hidden, content)
        entries[-1].waiter = durable  # when the last is durable, so are those before it
        if not self._any:
            self._mark.move()
        for entry in entries:
            if not self._writer.offer(entry):
                raise RecordingFailed("the queue of records is full")
        try:
            await asyncio.wait_for(durable, _PATIENCE)
        except TimeoutError:
            raise RecordingFailed(f"held turns were not durable within {_PATIENCE:g} s") from None
        if not self._any:
            self._mark.move()
        self._writer.put_later(self._trimming, held_for.actor_id)

    async def held(self, held_for: HeldFor, anchors: Sequence[Anchor]) -> Mapping[Anchor, Sequence[Hidden]]:
        now = self._clock.now()
        found: dict[Anchor, list[Hidden]] = {}
        opened: dict[str, Hidden | None] = {}
        for anchor, reply_id, size, used_at in self._anchored(held_for, anchors, as_text(now - KEPT)):
            if reply_id not in opened:
                opened[reply_id] = self._open(held_for, reply_id, size)
                if used_at < as_text(now - _USE_IS_NOTED_AFTER):
                    self._note_use(reply_id, as_text(now))
            hidden = opened[reply_id]
            if hidden is not None:
                found.setdefault(anchor, []).append(hidden)
        return found

    async def resolved(self, held_for: HeldFor, stored_id: str) -> str:
        try:
            row = self._reading.execute(_LAST, (held_for.actor_id, held_for.provider_name, stored_id)).fetchone()
        except (sqlite3.Error, UnicodeEncodeError):
            return stored_id
        return stored_id if row is None else str(row[0])

    def close(self) -> None:
        self._mark.close()

    def _entries(self, held_for: HeldFor, reply_id: str, hidden: Hidden, content: bytes) -> list[Entry]:
        now = as_text(self._clock.now())
        whose = (held_for.actor_id, held_for.provider_name, held_for.dialect)

        def sealed() -> tuple[str | int | bytes, ...]:  # in the writer thread: encryption takes its time
            text = self._cipher.sealed(content, _about(held_for, reply_id))
            return (reply_id, *whose, text, len(text), now, now)

        entries = [Entry(HELD, sealed, _SIZE + len(content))]
        entries += (
            Entry(ANCHOR, partial(tuple, (*whose, anchor, reply_id)), _SIZE) for anchor in dict.fromkeys(hidden.anchors)
        )
        if hidden.upstream_id is not None:
            first, last = hidden.upstream_id
            row = (held_for.actor_id, held_for.provider_name, first, last, now)
            entries.append(Entry(LAST_ID, partial(tuple, row), _SIZE))
        return entries

    def _anchored(
        self, held_for: HeldFor, anchors: Sequence[Anchor], since: str
    ) -> Iterator[tuple[Anchor, str, int, str]]:
        whose = (held_for.actor_id, held_for.provider_name, held_for.dialect)
        wanted = list(dict.fromkeys(anchors))
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            question = _ANCHORED.format(",".join("?" * len(some)))
            # Without what was hidden a provider may refuse the history. That is better than no answer at all.
            with suppress(sqlite3.Error, UnicodeEncodeError):
                yield from self._reading.execute(question, (*whose, *some, since)).fetchall()

    def _open(self, held_for: HeldFor, reply_id: str, size: int) -> Hidden | None:
        known = self._opened.get((reply_id, size))
        if known is not None:
            self._opened.move_to_end((reply_id, size))
            return known
        row = self._reading.execute(_CONTENT, (reply_id,)).fetchone()
        content = None if row is None else self._cipher.opened(row[0], _about(held_for, reply_id))
        if content is None:
            return None
        hidden = _HIDDEN.decode(content)
        self._opened[reply_id, size] = hidden
        self._remembered += size
        while self._remembered > _REMEMBERED:
            (_, forgotten), _ = self._opened.popitem(last=False)
            self._remembered -= forgotten
        return hidden

    def _note_use(self, reply_id: str, now: str) -> None:
        with suppress(RecordingFailed):  # this request goes on; another one will note it
            self._writer.offer(Entry(USED, partial(tuple, (reply_id, now)), _SIZE))

    def _trim(self, connection: sqlite3.Connection, actor_ids: Sequence[str]) -> None:
        """Drops what is too old, and the oldest use of who has too much. Runs in the writer thread."""
        oldest = as_text(self._clock.now() - KEPT)
        dropped = connection.execute(_TOO_OLD, (oldest,)).fetchall()
        for actor_id in set(actor_ids):
            dropped += connection.execute(_TOO_MUCH, (actor_id, self._most_held)).fetchall()
        connection.executemany(_NO_LONGER, dropped)
        connection.execute(_OLD_LAST_IDS, (oldest,))


def _about(held_for: HeldFor, reply_id: str) -> bytes:
    """What content is sealed about: a row that is given to somebody else, or put elsewhere, does not open."""
    whose = f"{held_for.actor_id}\n{held_for.provider_name}\n{held_for.dialect}"
    return f"held turns\n{whose}\n{reply_id}".encode("utf-8", "surrogatepass")

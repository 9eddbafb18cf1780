"""When each key was last used: noted at most once a minute, through the writer thread, whenever it has time."""

from __future__ import annotations

from functools import partial

from aibridge.database.inbox import Entry
from aibridge.database.moments import as_text
from aibridge.database.statements import Row, Statement
from aibridge.database.writer import Writer
from aibridge.errors import RecordingFailed
from aibridge.ports import Clock

_EVERY = 60.0  # seconds
_REMEMBERED = 4096  # keys; forgetting costs one write more
_SIZE = 256  # bytes that a note holds while it waits, about
_USED = Statement(
    name="aibridge_keys",
    before="UPDATE aibridge_keys SET last_used_at = use.column2 FROM (VALUES",
    columns=2,
    after=") AS use WHERE aibridge_keys.id = use.column1 AND coalesce(last_used_at, '') < use.column2",
    rank=3,
)


class KeyUse:
    """Called with the id of a key that was used."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._noted: dict[str, float] = {}

    def __call__(self, key_id: str) -> None:
        now = self._clock.monotonic()
        noted = self._noted.get(key_id)
        if noted is not None and now - noted < _EVERY:
            return
        if len(self._noted) >= _REMEMBERED:
            self._noted.clear()
        self._noted[key_id] = now
        row: Row = (key_id, as_text(self._clock.now()))
        try:
            self._writer.offer(Entry(_USED, partial(_itself, row), _SIZE))
        except RecordingFailed:
            # A server that can keep no record refuses requests elsewhere; this note is not worth one.
            return


def _itself(row: Row) -> Row:
    return row

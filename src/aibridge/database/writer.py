"""The one thread that writes records. It commits whatever has queued in one transaction, so that one fsync serves all
requests of that moment, and only then tells those who wait.

What may pass (the disk is full, somebody else holds the database) is waited out with everything kept. After any other
error of the disk nothing is tried again on the connection: whoever waits is told, and nothing more is taken.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from aibridge.database import batches, waiters
from aibridge.database.checkpoints import Checkpoints
from aibridge.database.files import DatabaseFile
from aibridge.database.inbox import Closed, Entry, Inbox, LaterWork
from aibridge.database.later import Later
from aibridge.errors import RecordingFailed
from aibridge.ports import Clock

CAPACITY = 64 * 1024 * 1024  # bytes; a full queue refuses new requests long before memory is short
STUCK_AFTER = 5.0  # seconds; a commit that takes longer is a disk that stands still
# A commit costs a few hundred microseconds of processor, and more when the event loop and this thread take turns for
# every statement. Where requests crowd, commits keep a distance: measured with 50 clients on one core, that took the
# recorder's cost from 210 to 80 us a request and *halved* the wait. A request that comes alone never waits for it.
_CROWD = 8  # waiters in one commit
_DISTANCE = 0.004  # seconds from the end of a commit to the next one's begin
_QUIET = 1.0  # seconds without a record after which the log is checkpointed
# A prompt, a usage: nobody waits for them, and the end of this interception, or the start or end of another one, for
# which somebody waits, comes soon. A commit of their own would only be in its way.
LINGER = 0.05  # seconds at most that a row without a waiter lies while interceptions are open
_RETRY = 0.25  # seconds between attempts while the database cannot take anything for the moment

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the writer did since it started."""

    commits: int
    rows: int
    checkpoints: int
    refused: int  # records that the database would not have
    lost: int  # records that were taken and could not be written before the end
    content_given_up: int  # records left out to make room for usage
    held: int  # bytes that wait now
    reserved: int  # bytes kept free for the ends of open interceptions
    oldest: float  # seconds that the oldest record at the disk has been waiting there


class Writer:
    """Takes entries from event loops; `start` before use, `close` after.

    With `give_up_content`, rows marked as content are left out as soon as the disk is full. A row that nobody waits for
    shares the next commit, which comes within `linger` seconds.
    """

    def __init__(
        self,
        file: DatabaseFile,
        clock: Clock,
        *,
        capacity: int = CAPACITY,
        give_up_content: bool = False,
        linger: float = LINGER,
    ) -> None:
        self._file = file
        self._clock = clock
        self._give_up_content = give_up_content
        self._linger = linger
        self._inbox = Inbox(capacity)
        self._later = Later()
        self._thread = threading.Thread(target=self._run, name="aibridge-writer", daemon=True)
        self._closing = threading.Event()
        self._failure: str | None = None
        self._trouble: str | None = None
        self._busy_since: float | None = None
        self._unchecked = False  # something was committed since the last checkpoint
        self._rest = 0.0  # seconds until this is done, if nothing comes
        self._crowded_until = 0.0
        self._at_hand: list[Entry] = []
        self._commits = self._rows = self._refused = self._lost = self._content_given_up = 0

    def start(self) -> None:
        """Opens the database and begins to write.

        Raises:
            DatabaseUnusable: the file cannot be opened.
        """
        self._lock = self._file.write_lock()
        self._connection = self._file.connection(any_thread=True)
        self._checkpoints = Checkpoints(self._connection, self._lock, self._file.log)
        self._thread.start()

    async def close(self, timeout: float = 10.0) -> bool:
        """Writes what waits, checkpoints, and closes the file. False: the disk stood still for `timeout` seconds."""
        self._inbox.close("the recorder is closed")
        self._closing.set()
        await asyncio.to_thread(self._thread.join, timeout)
        return not self._thread.is_alive()

    @property
    def has_failed(self) -> bool:
        """True when no more records can be kept, ever; another process may fare better."""
        return self._failure is not None

    @property
    def why_unhealthy(self) -> str | None:
        """What keeps records from becoming durable now; None: nothing that is known."""
        busy_since = self._busy_since
        if self._failure is not None or self._trouble is not None:
            return self._failure or self._trouble
        if busy_since is not None and self._clock.monotonic() - busy_since > STUCK_AFTER:
            return f"the disk has not taken a commit for {STUCK_AFTER:g} s"
        return None

    def offer(self, entry: Entry, *, reserve: int = 0) -> bool:
        """Takes `entry` if there is room for it and for `reserve` bytes more, which stay reserved until `release`.

        Raises:
            RecordingFailed: the writer is closed, or broken for good.
        """
        try:
            return self._inbox.offer(entry, reserve=reserve)
        except Closed as error:
            raise RecordingFailed(str(error)) from None

    def put(self, entry: Entry) -> None:
        """Takes `entry`, room or not.

        Raises:
            RecordingFailed: the writer is closed, or broken for good.
        """
        try:
            self._inbox.put(entry)
        except Closed as error:
            raise RecordingFailed(str(error)) from None

    def put_later(self, work: LaterWork, key: str) -> None:
        """Notes work for a quiet moment, after everything that was taken before is durable."""
        self._inbox.put_later(work, key)

    def release(self, reserved: int) -> None:
        """Gives back room that `offer` reserved."""
        self._inbox.release(reserved)

    def statistics(self) -> Statistics:
        busy_since = self._busy_since
        return Statistics(
            commits=self._commits,
            rows=self._rows,
            checkpoints=self._checkpoints.count,
            refused=self._refused,
            lost=self._lost,
            content_given_up=self._content_given_up,
            held=self._inbox.held,
            reserved=self._inbox.reserved,
            oldest=0.0 if busy_since is None else self._clock.monotonic() - busy_since,
        )

    # Everything below runs in the thread.

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except Exception as error:  # noqa: BLE001 - the thread's outermost edge: whoever waits must be told
            self._fail(f"the database failed: {batches.said(error)}")
        finally:
            self._checkpoints.close()
            with closing(self._lock), self._lock:
                self._connection.close()

    def _turn(self) -> bool:
        """One piece of work, the most urgent; False when there is none left and no more will come."""
        timeout = self._most_sleep()
        entries = self._taken(timeout)
        if entries:
            entries = self._gathered(entries)
            self._commit(entries)
            self._checkpoints.tend()
        if self._later and (not entries or self._later.cannot_wait(self._clock.monotonic())):
            self._later.do_some(self._connection, self._lock)
            self._wrote()
        elif not entries:
            closing = self._closing.is_set()
            if closing and not self._unchecked:
                return False
            self._rest -= timeout or 0.0
            if self._unchecked and (closing or self._rest <= 0):
                self._checkpoints.run(afresh=not closing)
                self._unchecked = False
        return True

    def _most_sleep(self) -> float | None:
        """Seconds until there is something to do although nobody rings; None: never."""
        if self._later:
            return 0.0
        rest = self._rest if self._unchecked else None
        if self._inbox.reserved:  # rows may come that do not ring
            return self._linger if rest is None else min(self._linger, rest)
        return rest

    def _wrote(self) -> None:
        """Something was committed, and will have to be checkpointed."""
        self._unchecked = True
        self._rest = _QUIET

    def _taken(self, timeout: float | None) -> list[Entry]:
        """What has come; waits for it at most `timeout` seconds."""
        entries, later = self._inbox.take(timeout)
        if later:
            self._later.add(later, self._clock.monotonic())
        if self._closing.is_set():
            self._later.shorten()
        return entries

    def _gathered(self, entries: list[Entry]) -> list[Entry]:
        """`entries`, and those that come until the distance to the last crowded commit is kept."""
        rest = self._crowded_until - self._clock.monotonic()
        if rest > 0:
            self._closing.wait(rest)
            entries += self._taken(0)
        return entries

    def _commit(self, entries: list[Entry]) -> None:
        """Returns when `entries` are durable and told so, or given up."""
        self._at_hand = entries
        self._at_hand = self._made(entries)
        self._busy_since = self._clock.monotonic()
        while self._at_hand:
            last_try = self._closing.is_set()
            try:
                refused = batches.write(self._connection, self._lock, self._at_hand)
            except sqlite3.OperationalError as error:
                if batches.verdict_on(error) != "passing":
                    raise
                self._held_up(error)
                if last_try:
                    self._give_up(f"closed while {self._trouble}")
                else:
                    self._wait_for_better(full=error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL)
            else:
                if self._trouble is not None:
                    _log.warning("the database takes records again")
                # Before anybody is told: who is told may ask how we are.
                self._trouble = self._busy_since = None
                self._kept(refused)
        self._busy_since = None

    def _kept(self, refused: list[batches.Refusal]) -> None:
        entries, self._at_hand = self._at_hand, []
        self._commits += 1
        self._rows += len(entries) - len(refused)
        self._wrote()
        if refused:
            self._refuse(refused)
            turned_away = {id(entry) for entry, _ in refused}
            entries = [entry for entry in entries if id(entry) not in turned_away]
        self._settle(entries, None)
        if sum(entry.waiter is not None for entry in entries) >= _CROWD:
            self._crowded_until = self._clock.monotonic() + _DISTANCE

    def _made(self, entries: list[Entry]) -> list[Entry]:
        good, refused = batches.made(entries)
        self._refuse(refused)
        return good

    def _held_up(self, error: sqlite3.OperationalError) -> None:
        if self._trouble is None:
            _log.error("the database takes no records for the moment", extra={"reason": batches.said(error)})
        self._trouble = f"the database takes no records for the moment: {batches.said(error)}"

    def _wait_for_better(self, *, full: bool) -> None:
        """Lets some time pass; what came meanwhile joins in, and content leaves if there is no room for it."""
        self._closing.wait(_RETRY)
        self._at_hand += self._made(self._taken(0))
        if full and self._give_up_content:
            content = [entry for entry in self._at_hand if entry.statement.content]
            self._at_hand = [entry for entry in self._at_hand if not entry.statement.content]
            self._content_given_up += len(content)
            self._settle(content, "there is no room for content")

    def _refuse(self, refused: Sequence[batches.Refusal]) -> None:
        self._refused += len(refused)
        for entry, reason in refused:
            _log.error("a record was refused", extra={"table": entry.statement.name, "reason": reason})
            self._settle([entry], reason)

    def _give_up(self, reason: str) -> None:
        entries, self._at_hand = self._at_hand, []
        self._lost += len(entries)
        self._settle(entries, reason)

    def _fail(self, reason: str) -> None:
        """Nothing is tried again: what waits is lost, and nothing more is taken."""
        self._failure = reason
        self._inbox.close(reason)
        self._at_hand += self._inbox.take(0)[0]
        self._give_up(reason)
        _log.critical("no more records can be kept", extra={"reason": reason, "lost": self._lost})

    def _settle(self, entries: Sequence[Entry], reason: str | None) -> None:
        """Gives the room back and tells those who wait. `reason`: why the entries were given up."""
        if reason is not None:
            for entry in entries:
                if entry.given_up is not None:
                    entry.given_up()
        self._inbox.settled(sum(entry.size for entry in entries))
        waiters.tell((entry.waiter for entry in entries), reason)

"""People whom an identity provider knows: users since their first token, and as its newest claims describe them.

The rule: issuer and subject say who somebody is, and nothing else does. A name belongs to whoever has it. Somebody whose
claims name a user that is there already, whoever made it, gets that name with a mark of their own: `ada~1f0c55d2`. So
does whoever claims what commands and queries take for somebody else: `admin`, `me`, or what an id looks like.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import msgspec

from aibridge.database.files import DatabaseFile, DatabaseUnusable
from aibridge.database.moments import as_text, from_text
from aibridge.ports import Clock, Ids
from aibridge.server import people_rows as rows
from aibridge.server.auth.oidc.claims import ClaimedPerson
from aibridge.server.persons import NotPossible, User

_REMEMBERED = 4096  # users
_LONGEST = 1.0  # seconds that one is remembered, as keys are (see `people`)
_KEPT = frozenset({"admin", "me"})  # see above
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NAME = 128  # characters, see `persons`


class Stranger(Exception):
    """Somebody who is no user, nor becomes one."""


class Arrivals:
    """Those of one up-to-date database. `close` it. Raises DatabaseUnusable where the file cannot be read or written."""

    def __init__(self, file: DatabaseFile, clock: Clock, ids: Ids) -> None:
        self._file = file
        self._clock = clock
        self._ids = ids
        self._reading = file.reading()
        self._changes = file.change_mark("people")
        self._remembered: dict[str, tuple[bytes, float, User]] = {}

    def close(self) -> None:
        self._changes.close()
        self._file.close_reading(self._reading)

    def user(self, user_id: str) -> User | None:
        """The user as they are now. For every request, on the event loop."""
        mark, now = self._changes.seen(), self._clock.monotonic()
        remembered = self._remembered.get(user_id)
        if remembered is not None and remembered[0] == mark and now - remembered[1] < _LONGEST:
            return remembered[2]
        try:
            row = self._reading.execute(rows.USER_WITH_ID, (user_id,)).fetchone()
        except sqlite3.Error as error:
            raise DatabaseUnusable(f"the users cannot be read: {error}") from error
        if row is None:
            return None
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        user = rows.user_of(row)
        if remembered is not None and remembered[2] == user:
            user = remembered[2]
        self._remembered[user_id] = (mark, now, user)
        return user

    def arrived(self, person: ClaimedPerson, *, may_be_new: bool = True) -> User:
        """The user that somebody is, made or changed as the claims say. In a thread: it may write.

        Claims that are older than those that made a change change nothing.

        Raises:
            NotPossible: there is no name left for them.
            Stranger: there is no such user, and whoever may not be new is not made one.
        """
        try:
            reading = self._file.reading()
            try:
                found = _found(reading, person)
            finally:
                self._file.close_reading(reading)
            if found is None and not may_be_new:
                raise Stranger
            if found is not None and not _differs(found[0], found[1], person):
                return found[0]
            with self._file.writing() as connection:
                found = _found(connection, person)
                if found is not None and not _differs(found[0], found[1], person):
                    return found[0]
                user = self._made(connection, person) if found is None else _changed(connection, found[0], person)
                self._changes.move()
            self._changes.move()
        except sqlite3.Error as error:
            raise DatabaseUnusable(f"{self._file.path} cannot be written: {error}") from error
        return user

    def _made(self, connection: sqlite3.Connection, person: ClaimedPerson) -> User:
        user_id = self._ids()
        user = User(
            id=user_id,
            username=_free_name(connection, user_id, person),
            email=person.email,
            groups=person.groups,
            role=person.role,
            status="active",
            created_at=self._clock.now(),
        )
        identity = (person.issuer, person.subject, as_text(person.claimed_at))
        connection.execute(rows.INSERT_ARRIVAL, (*rows.row_of_user(user), *identity))
        return user


def _found(connection: sqlite3.Connection, person: ClaimedPerson) -> tuple[User, datetime] | None:
    row = connection.execute(rows.USER_WITH_IDENTITY, (person.issuer, person.subject)).fetchone()
    return None if row is None else (rows.user_of(row[:-1]), from_text(row[-1]))


def _differs(user: User, claimed_at: datetime, person: ClaimedPerson) -> bool:
    if person.claimed_at < claimed_at:
        return False
    as_claimed = replace(user, email=person.email, groups=person.groups, role=person.role)
    return user != as_claimed or user.username not in _names(person)


def _changed(connection: sqlite3.Connection, user: User, person: ClaimedPerson) -> User:
    name = user.username if user.username in _names(person) else _free_name(connection, user.id, person)
    changed = replace(user, username=name, email=person.email, groups=person.groups, role=person.role)
    groups, claimed_at = msgspec.json.encode(changed.groups).decode(), as_text(person.claimed_at)
    connection.execute(rows.SET_CLAIMED, (name, changed.email, groups, changed.role, claimed_at, user.id))
    return changed


def _free_name(connection: sqlite3.Connection, user_id: str, person: ClaimedPerson) -> str:
    for name in _names(person):
        if not _is_kept(name) and connection.execute(rows.NAME_TAKEN, (name, user_id)).fetchone() is None:
            return name
    raise NotPossible("every name that you could have here is taken: ask who runs the gateway")


def _is_kept(name: str) -> bool:
    read = unicodedata.normalize("NFKC", name).casefold()  # as people see it
    return read in _KEPT or _ID.fullmatch(read) is not None


def _names(person: ClaimedPerson) -> Iterator[str]:
    """The names that somebody may have, the wished one first."""
    mark = hashlib.sha256(f"{person.issuer}\0{person.subject}".encode("utf-8", "surrogatepass")).hexdigest()
    if person.username is not None:
        yield person.username
    for length in (8, 32):
        yield f"{(person.username or 'user')[: _NAME - length - 1]}~{mark[:length]}"

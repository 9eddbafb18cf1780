"""Users and their keys, in the same file as the records. What one process changes holds for all at the next request.

A look-up asks the database again whenever its mark of changes has moved (see `change_mark`): what a person may do is
remembered only as long as nobody changed it. A second at the longest, for a process killed in the midst of a change.
Changes are short transactions of their own, so that commands work beside a running server and before the first one.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from aibridge.database.files import DatabaseFile, DatabaseUnusable
from aibridge.database.moments import as_text
from aibridge.ports import Clock, Ids
from aibridge.server import people_rows as rows
from aibridge.server.auth import key_format
from aibridge.server.persons import (
    ROLES,
    SCOPES,
    Denial,
    Key,
    KnownKey,
    NeverPossible,
    NewKey,
    NotPossible,
    Role,
    Scope,
    Status,
    User,
    checked_name,
    one_of,
)

DEFAULT_LIFE = timedelta(days=90)
_REMEMBERED = 4096  # look-ups
_LONGEST = 1.0  # seconds that one is remembered
_FINGERPRINT_KEY = 32  # bytes


class People:
    """The users and keys of one up-to-date database. `close` it.

    `identify` and `look_up` are for every request; the others are for people: from an event loop, call those in a
    thread. All of them raise DatabaseUnusable where the file cannot be read or written.

    Args:
        hash_key: keys are stored as hashes under it, so that whoever reads the file can neither use nor guess one.
            None: no key is made or identified here.
        note_use: told the id of each key that was used.
        random: gives as many random bytes as it is asked for.
    """

    def __init__(
        self,
        file: DatabaseFile,
        *,
        hash_key: bytes | None,
        clock: Clock,
        ids: Ids,
        note_use: Callable[[str], None] | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._file = file
        self._hash = None if hash_key is None else hmac.new(hash_key, digestmod=hashlib.sha256)
        self._clock = clock
        self._ids = ids
        self._note_use = note_use
        self._random = random
        self._reading = file.reading()
        self._changes = file.change_mark("people")
        self._remembered: dict[str, tuple[bytes, float, KnownKey]] = {}
        # What good keys say of themselves, which never changes: their id and hash. By a fingerprint that only this
        # process can make, for the keys themselves are kept nowhere. It saves 5 of 9 us where many requests come, and
        # 28 of 55 for one that comes after a pause.
        self._read: dict[bytes, tuple[str, bytes]] = {}
        self._fingerprint_key = random(_FINGERPRINT_KEY)

    def close(self) -> None:
        self._changes.close()
        self._file.close_reading(self._reading)

    def identify(self, secret: str) -> KnownKey | Denial:
        """The key that `secret` is, or why it opens nothing."""
        fingerprint = hashlib.blake2b(secret.encode(errors="replace"), key=self._fingerprint_key).digest()
        key_id, digest = self._read.get(fingerprint) or (key_format.parse(secret), None)
        known = None if key_id is None else self.look_up(key_id)
        if known is None or not hmac.compare_digest(known.digest, digest or self._digest(secret)):
            return "unknown"
        if digest is None:
            if len(self._read) >= _REMEMBERED:
                self._read.clear()
            self._read[fingerprint] = (known.key.id, known.digest)
        denial = self.why_dead(known)
        if denial is not None:
            return denial
        if self._note_use is not None:
            self._note_use(known.key.id)
        return known

    def why_dead(self, known: KnownKey) -> Denial | None:
        """Why a key opens nothing any more; None: it does."""
        if known.key.revoked_at is not None:
            return "revoked"
        if known.key.expires_at is not None and known.key.expires_at <= self._clock.now():
            return "expired"
        return None if known.user.status == "active" else "suspended"

    def look_up(self, key_id: str) -> KnownKey | None:
        """The key with that id and its owner, as they are now."""
        mark, now = self._changes.seen(), self._clock.monotonic()
        remembered = self._remembered.get(key_id)
        if remembered is not None and remembered[0] == mark and now - remembered[1] < _LONGEST:
            return remembered[2]
        try:
            row = self._reading.execute(rows.LOOK_UP, (key_id,)).fetchone()
        except sqlite3.Error as error:
            raise DatabaseUnusable(f"the keys cannot be read: {error}") from error
        if row is None:
            return None
        known = rows.known_key_of(row)
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[key_id] = (mark, now, known)
        return known

    def create_user(
        self, username: str, *, email: str | None = None, groups: Iterable[str] = (), role: Role = "member"
    ) -> User:
        """Raises: NotPossible: the name is taken, or something is not as it must be."""
        user = User(
            id=self._ids(),
            username=checked_name(username, "a user name"),
            email=None if email is None else checked_name(email, "an e-mail address"),
            groups=tuple(dict.fromkeys(checked_name(group, "a group name") for group in groups)),
            role=one_of(ROLES, role, "role"),
            status="active",
            created_at=self._clock.now(),
        )
        try:
            self._change(rows.INSERT_USER, rows.row_of_user(user))
        except sqlite3.IntegrityError:
            raise NotPossible(f"there is a user {user.username} already") from None
        return user

    def ensure_user(self, username: str, *, role: Role) -> User:
        """The user of that name, made if there is none. Of two processes that make it, one does."""
        found = self.user(username)
        if found is not None:
            return found
        try:
            return self.create_user(username, role=role)
        except NotPossible:
            return self._existing(username)

    def user(self, name_or_id: str) -> User | None:
        found = self._rows(rows.USER_NAMED, name_or_id)
        return rows.user_of(found[0]) if found else None

    def list_users(self) -> list[User]:
        """By name."""
        return [rows.user_of(row) for row in self._rows(rows.USERS)]

    def suspend(self, name_or_id: str) -> User:
        """The user, whose keys open nothing from now on. Raises: NotPossible: there is no such user."""
        return self._with_status(name_or_id, "suspended")

    def activate(self, name_or_id: str) -> User:
        """The user, whose keys open again. Raises: NotPossible: there is no such user."""
        return self._with_status(name_or_id, "active")

    def create_key(
        self,
        user: str,
        *,
        name: str,
        scopes: Iterable[Scope] = ("use", "read:own"),
        life: timedelta | None = DEFAULT_LIFE,
    ) -> NewKey:
        """A new key of the user (a name or an id); `life=None` is for ever. Its secret is in no other place.

        Raises:
            NotPossible: there is no such user, or something is not as it must be.
        """
        owner = self._existing(user)
        now = self._clock.now()
        if life is not None and not timedelta() < life <= timedelta(days=36500):
            raise NeverPossible("a key lives for more than no time and at most 100 years")
        key = Key(
            id=self._ids(),
            user_id=owner.id,
            username=owner.username,
            name=checked_name(name, "a key's name"),
            scopes=tuple(dict.fromkeys(one_of(SCOPES, scope, "scope") for scope in scopes)),
            created_at=now,
            expires_at=None if life is None else now + life,
            revoked_at=None,
            last_used_at=None,
        )
        if not key.scopes:
            raise NeverPossible("a key without a scope opens nothing")
        secret = key_format.make(key.id, self._random(key_format.SECRET_BYTES))
        self._change(rows.INSERT_KEY, rows.row_of_key(key, self._digest(secret)))
        return NewKey(key, secret)

    def list_keys(self, user: str | None = None) -> list[Key]:
        """All keys, or those of one user (a name or an id), oldest first; the dead ones too.

        Raises:
            NotPossible: there is no such user.
        """
        found = self._rows(rows.KEYS) if user is None else self._rows(rows.KEYS_OF, self._existing(user).id)
        return [rows.key_of(row) for row in found]

    def revoke_key(self, key_id: str) -> Key:
        """The key, which opens nothing from now on; the first revocation's time stays.

        Raises:
            NotPossible: there is no such key.
        """
        self._change(rows.REVOKE, (as_text(self._clock.now()), key_id))
        found = self._rows(rows.KEY_NAMED, key_id)
        if not found:
            raise NotPossible(f"there is no key {key_id}")
        return rows.key_of(found[0])

    def revoke_all_keys(self) -> int:
        """How many there were; none opens anything from now on, and the server may start with another secret."""
        with self._changing() as connection:
            revoked = connection.execute(rows.REVOKE_ALL, (as_text(self._clock.now()),)).rowcount
            connection.execute(rows.FORGET_FINGERPRINTS)
        return revoked

    def _existing(self, name_or_id: str) -> User:
        user = self.user(name_or_id)
        if user is None:
            raise NotPossible(f"there is no user {name_or_id}")
        return user

    def _with_status(self, name_or_id: str, status: Status) -> User:
        self._change(rows.SET_STATUS, (status, self._existing(name_or_id).id))
        return self._existing(name_or_id)

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """A connection of its own: a long list must not hold up look-ups."""
        reading = self._file.reading()
        try:
            return reading.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise DatabaseUnusable(f"{self._file.path} cannot be read: {error}") from error
        finally:
            self._file.close_reading(reading)

    def _change(self, statement: str, values: Sequence[Any]) -> None:
        with self._changing() as connection:
            connection.execute(statement, values)

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._file.writing() as connection:
                yield connection
                self._changes.move()
            self._changes.move()
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise DatabaseUnusable(f"{self._file.path} cannot be written: {error}") from error

    def _digest(self, secret: str) -> bytes:
        # A copy that has the key already takes a third less than `hmac.digest`, which also hands the interpreter to
        # the writer thread in the midst of a request.
        assert self._hash is not None, "opened without the key of the hashes"
        keyed = self._hash.copy()
        keyed.update(secret.encode())
        return keyed.digest()

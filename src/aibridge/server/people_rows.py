"""How users and keys lie in their tables: the statements, and what their rows mean."""
# ruff: noqa: S608 - the parts that are put together here are the constants of this file

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from aibridge.database.moments import as_text, from_text
from aibridge.database.statements import Row
from aibridge.server.persons import Key, KnownKey, User

_USER = "u.id, u.username, u.email, u.groups, u.role, u.status, u.created_at"
_KEY = "k.id, k.user_id, u.username, k.name, k.scopes, k.created_at, k.expires_at, k.revoked_at, k.last_used_at"
_OWNED_KEYS = "aibridge_keys AS k JOIN aibridge_users AS u ON u.id = k.user_id"
_KEY_WIDTH = len(_KEY.split(","))

LOOK_UP = f"SELECT {_KEY}, {_USER}, k.digest FROM {_OWNED_KEYS} WHERE k.id = ?"
USERS = f"SELECT {_USER} FROM aibridge_users AS u ORDER BY u.username"
USER_NAMED = f"SELECT {_USER} FROM aibridge_users AS u WHERE u.username = ?1 OR u.id = ?1"
KEYS = f"SELECT {_KEY} FROM {_OWNED_KEYS} ORDER BY k.created_at, k.id"
KEYS_OF = f"SELECT {_KEY} FROM {_OWNED_KEYS} WHERE k.user_id = ? ORDER BY k.created_at, k.id"
KEY_NAMED = f"SELECT {_KEY} FROM {_OWNED_KEYS} WHERE k.id = ?"
INSERT_USER = (
    "INSERT INTO aibridge_users (id, username, email, groups, role, status, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
INSERT_KEY = (
    "INSERT INTO aibridge_keys (id, user_id, name, digest, scopes, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
USER_WITH_IDENTITY = f"SELECT {_USER}, u.claimed_at FROM aibridge_users AS u WHERE u.issuer = ? AND u.subject = ?"
USER_WITH_ID = f"SELECT {_USER} FROM aibridge_users AS u WHERE u.id = ?"
NAME_TAKEN = "SELECT 1 FROM aibridge_users WHERE (username = ?1 OR id = ?1) AND id <> ?2"
INSERT_ARRIVAL = (
    "INSERT INTO aibridge_users (id, username, email, groups, role, status, created_at, issuer, subject, claimed_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
SET_CLAIMED = "UPDATE aibridge_users SET username = ?, email = ?, groups = ?, role = ?, claimed_at = ? WHERE id = ?"
SET_STATUS = "UPDATE aibridge_users SET status = ? WHERE id = ?"
REVOKE = "UPDATE aibridge_keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
REVOKE_ALL = "UPDATE aibridge_keys SET revoked_at = ? WHERE revoked_at IS NULL"
FORGET_FINGERPRINTS = "DELETE FROM aibridge_fingerprints"


def user_of(row: tuple[Any, ...]) -> User:
    user_id, username, email, groups, role, status, created_at = row
    return User(
        id=user_id,
        username=username,
        email=email,
        groups=tuple(msgspec.json.decode(groups)),
        role=role,
        status=status,
        created_at=from_text(created_at),
    )


def key_of(row: tuple[Any, ...]) -> Key:
    key_id, user_id, username, name, scopes, created_at, expires_at, revoked_at, last_used_at = row
    return Key(
        id=key_id,
        user_id=user_id,
        username=username,
        name=name,
        scopes=tuple(msgspec.json.decode(scopes)),
        created_at=from_text(created_at),
        expires_at=_moment(expires_at),
        revoked_at=_moment(revoked_at),
        last_used_at=_moment(last_used_at),
    )


def known_key_of(row: tuple[Any, ...]) -> KnownKey:
    return KnownKey(key_of(row[:_KEY_WIDTH]), user_of(row[_KEY_WIDTH:-1]), row[-1])


def row_of_user(user: User) -> Row:
    groups = msgspec.json.encode(user.groups).decode()
    return (user.id, user.username, user.email, groups, user.role, user.status, as_text(user.created_at))


def row_of_key(key: Key, digest: bytes) -> Row:
    scopes = msgspec.json.encode(key.scopes).decode()
    expires_at = None if key.expires_at is None else as_text(key.expires_at)
    return (key.id, key.user_id, key.name, digest, scopes, as_text(key.created_at), expires_at)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else from_text(text)

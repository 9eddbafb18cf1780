"""What is known about people and their keys. Values only; `people.py` keeps them. No secret is part of any of them."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar, get_args

import msgspec

Role = Literal["member", "auditor", "admin"]
Status = Literal["active", "suspended"]
Scope = Literal["use", "read:own", "read:all", "admin"]
Denial = Literal["unknown", "revoked", "expired", "suspended"]

ROLES: tuple[Role, ...] = get_args(Role)
SCOPES: tuple[Scope, ...] = get_args(Scope)
_Word = TypeVar("_Word", bound=str)
_LONGEST = 128  # characters of a name


class NotPossible(Exception):
    """What was asked for cannot be done. The message is one line for the person who asked."""


class NeverPossible(NotPossible):
    """A value that cannot be, whoever and whatever there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who may hold keys. `id` is what records are filed under; it never changes."""

    id: str
    username: str
    email: str | None
    groups: tuple[str, ...]
    role: Role
    status: Status
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A key, without its secret."""

    id: str
    user_id: str
    username: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None  # None: never
    revoked_at: datetime | None
    last_used_at: datetime | None  # exact to the minute


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. `secret` is the whole value for the client; it cannot be shown again."""

    key: Key
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as the database has it now, with its owner. `digest` is the keyed hash of the secret."""

    key: Key
    user: User
    digest: bytes = field(repr=False)


class SignedIn(msgspec.Struct, frozen=True):
    """Somebody whom a credential let in, and what for. `credential_id` names it; it is no secret."""

    credential_id: str
    user: User
    scopes: tuple[Scope, ...]


def checked_name(name: str, what: str) -> str:
    """A name as people write it, without what cannot be seen.

    Raises:
        NeverPossible: it is empty, too long, holds spaces at its ends or control characters, or is no text.
    """
    name = unicodedata.normalize("NFC", name)
    if not name or name != name.strip() or len(name) > _LONGEST:
        raise NeverPossible(f"{what} must have 1 to {_LONGEST} characters and no space at its ends")
    if any("\ud800" <= character <= "\udfff" for character in name):  # Python's stand-ins for bytes that it cannot read
        raise NeverPossible(f"{what} cannot be read in this locale: set one with UTF-8, such as LC_ALL=C.UTF-8")
    if any(unicodedata.category(character).startswith("C") for character in name):
        raise NeverPossible(f"{what} must not hold control characters")
    return name


def one_of(allowed: tuple[_Word, ...], value: str, what: str) -> _Word:
    """The value among those that may be.

    Raises:
        NeverPossible: it is another one.
    """
    for word in allowed:
        if word == value:
            return word
    raise NeverPossible(f"there is no {what} {value}: it is one of {', '.join(allowed)}")

"""Who reads, and whose interceptions exist for them: members have their own, auditors and admins everybody's."""

from __future__ import annotations

from dataclasses import dataclass

from aibridge.errors import Problem, Refused
from aibridge.server.persons import KnownKey


@dataclass(frozen=True, slots=True)
class Reader:
    """Whoever asks the API. `only` is the one person whose interceptions there are for them; None: all."""

    id: str
    username: str
    only: str | None


def reader_of(known: KnownKey) -> Reader:
    """What a key lets its owner see: no more than the key's scopes say, nor than the owner's role.

    Raises:
        Refused: nothing (403).
    """
    user, scopes = known.user, frozenset(known.key.scopes)
    if user.role in ("auditor", "admin") and scopes & {"read:all", "admin"}:
        return Reader(user.id, user.username, only=None)
    if scopes & {"read:own", "read:all", "admin"}:
        return Reader(user.id, user.username, only=user.id)
    raise Refused(Problem(403, "your aibridge key may not read records: it lacks the scope `read:own`"))

"""Who reads, and whose interceptions exist for them: members have their own, auditors and admins everybody's."""

from __future__ import annotations

from dataclasses import dataclass

from aibridge.errors import Problem, Refused
from aibridge.server.persons import SignedIn


@dataclass(frozen=True, slots=True)
class Reader:
    """Whoever asks the API. `only` is the one person whose interceptions there are for them; None: all."""

    id: str
    username: str
    only: str | None


def reader_of(signed_in: SignedIn) -> Reader:
    """What a credential lets its owner see: no more than its scopes say, nor than the owner's role.

    Raises:
        Refused: nothing (403).
    """
    user, scopes = signed_in.user, frozenset(signed_in.scopes)
    if user.role in ("auditor", "admin") and scopes & {"read:all", "admin"}:
        return Reader(user.id, user.username, only=None)
    if scopes & {"read:own", "read:all", "admin"}:
        return Reader(user.id, user.username, only=user.id)
    raise Refused(Problem(403, "your aibridge key may not read records: it lacks the scope `read:own`"))

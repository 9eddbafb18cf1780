"""What can go wrong, in words that every dialect can say. A problem is a value; raising is for leaving early."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

Header = tuple[bytes, bytes]
_KIND = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer of ours to the client: the dialect gives it its shape (see `Dialect.error_body`).

    `status` is the HTTP status and decides the error type that the dialect names. `message` is shown to a
    person and must hold no secret. `headers` are added to the answer (for example `Retry-After`).
    """

    status: int
    message: str
    code: str | None = None
    headers: Sequence[Header] = field(default=())


def kind_of(said: str) -> str:
    """A provider's word for a kind of error, where it is a word: anything else may hold a piece of what was asked."""
    return said if _KIND.fullmatch(said) else "other"


class Refused(Exception):
    """The request ends here with `problem`, before anything was asked upstream."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class InvalidRequest(Refused):
    """The client's body or path cannot be taken (400 unless said otherwise)."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(Problem(status, message))


class RecordingFailed(Exception):
    """A recorder could not make a record durable. The message says why and holds no content."""


class ToolsTookTooLong(Exception):
    """The inner loop has no time left. The message is safe to show and to record."""


class UpstreamFailure(Exception):
    """The provider could not be reached, or broke off. The message is safe to show and to record."""


class UpstreamUnreachable(UpstreamFailure):
    """No connection: DNS, TCP or TLS failed, or the connection broke before the first byte of an answer."""


class UpstreamReset(UpstreamFailure):
    """The answer had begun and its body broke off before the framing said that it was whole."""


class UpstreamStalled(UpstreamFailure):
    """Nothing came for longer than the provider's deadline (before or after the first byte)."""


class KeysExhausted(UpstreamFailure):
    """Every central key rests: the provider limits or refuses each of them. `problem` says so to the client."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class AnswerBroken(Exception):
    """An answer that has begun cannot be completed, and its format has no words for that.

    It leaves the application so that the server cuts the connection: a plain end would look like a whole answer.
    """

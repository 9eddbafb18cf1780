"""What may go wrong in a command, as one line for the person who gave it."""

from __future__ import annotations

from aibridge.database.files import DatabaseUnusable
from aibridge.server.config import Wrong
from aibridge.server.filters import BadFilter
from aibridge.server.http.sockets import CannotListen
from aibridge.server.persons import NotPossible
from aibridge.server.private_files import PrivateFileUnusable
from aibridge.server.workers import WorkersFailed

_EXPECTED = (
    Wrong,
    NotPossible,
    DatabaseUnusable,
    CannotListen,
    PrivateFileUnusable,
    WorkersFailed,
    BadFilter,
)


def in_words(error: Exception) -> str | None:
    """The line; None for what is a fault of ours."""
    return str(error) if isinstance(error, _EXPECTED) else None

"""What may go wrong in a command, as one line for the person who gave it."""

from __future__ import annotations

from aibridge.database.files import DatabaseUnusable
from aibridge.server.config import Wrong
from aibridge.server.http.sockets import CannotListen
from aibridge.server.persons import NotPossible
from aibridge.server.private_files import PrivateFileUnusable


def in_words(error: Exception) -> str | None:
    """The line; None for what is a fault of ours."""
    if isinstance(error, (Wrong, NotPossible, DatabaseUnusable, CannotListen, PrivateFileUnusable)):
        return str(error)
    return None

"""What may go wrong in a command, as one line for the person who gave it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from aibridge.database.files import DatabaseUnusable
from aibridge.server.config import Wrong
from aibridge.server.filters import BadFilter
from aibridge.server.http.sockets import CannotListen
from aibridge.server.persons import NeverPossible, NotPossible
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


@contextmanager
def values_checked() -> Iterator[None]:
    """Says of a value that cannot be what the command line says of one that it checks itself, with the same status."""
    try:
        yield
    except (NeverPossible, BadFilter) as error:
        raise typer.BadParameter(str(error)) from None


def in_words(error: Exception) -> str | None:
    """The line; None for what is a fault of ours."""
    return str(error) if isinstance(error, _EXPECTED) else None

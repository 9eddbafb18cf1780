"""What the commands about people and records open: the configuration, the database, and who is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aibridge.clock import SystemClock, new_id
from aibridge.database.files import DatabaseFile
from aibridge.database.upgrade import bring_up_to_date
from aibridge.server.config import load
from aibridge.server.people import People
from aibridge.server.server_secret import derived_key, server_secret
from aibridge.server.store import open_people

if TYPE_CHECKING:
    from aibridge.server.reading import Reading


@contextmanager
def people(config: Path | None, *, makes_keys: bool = False) -> Iterator[People]:
    """The users and keys of the configured database; the server's secret is needed only where keys are made.

    Raises: Wrong, DatabaseUnusable.
    """
    configuration = load(config)
    hash_key = derived_key(server_secret(configuration), "token hashes") if makes_keys else None
    with open_people(configuration.database, hash_key=hash_key, clock=SystemClock(), ids=new_id) as found:
        yield found


@contextmanager
def reading(config: Path | None) -> Iterator[Reading]:
    """What was recorded in the configured database. Raises: Wrong, DatabaseUnusable."""
    from aibridge.server.reading import Reading

    file = DatabaseFile.at(load(config).database)
    bring_up_to_date(file)
    with closing(Reading(file, SystemClock())) as found:
        yield found

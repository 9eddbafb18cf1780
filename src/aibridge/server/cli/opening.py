"""What the commands about people and records open: the configuration, the database, and who is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aibridge.clock import SystemClock, new_id
from aibridge.server.config import load
from aibridge.server.people import People
from aibridge.server.server_secret import derived_key, server_secret
from aibridge.server.store import open_people


@contextmanager
def people(config: Path | None) -> Iterator[People]:
    """The users and keys of the configured database. Raises: Wrong, DatabaseUnusable."""
    configuration = load(config)
    hash_key = derived_key(server_secret(configuration), "token hashes")
    with open_people(configuration.database, hash_key=hash_key, clock=SystemClock(), ids=new_id) as found:
        yield found

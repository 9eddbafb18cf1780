"""Brings a database to the present tables at start, one process at a time. A newer database is refused.

Whether there is anything to do is asked of SQLite directly: alembic and SQLAlchemy are loaded only for an upgrade.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from aibridge.database.files import DatabaseFile, DatabaseUnusable

# Every step that was ever released, oldest first, as the files in migrations/versions name themselves.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")


def bring_up_to_date(file: DatabaseFile) -> None:
    """Makes the tables of a new database, or adds what an older one lacks.

    Raises:
        DatabaseUnusable: a newer aibridge made it, or it is no database of ours.
    """
    # The lock first: even the switch to a write-ahead log fails where two processes try it on a new file.
    with closing(file.write_lock()) as lock, lock, closing(file.connection()) as connection:
        if _revision_of(file, connection) == REVISIONS[-1]:
            return
        from aibridge.database.migrations.run import run_migrations  # noqa: PLC0415 - heavy, and seldom needed

        try:
            run_migrations(connection)
        except sqlite3.Error as error:
            raise DatabaseUnusable(f"{file.path} could not be upgraded: {error}") from error


def _revision_of(file: DatabaseFile, connection: sqlite3.Connection) -> str | None:
    """The last step that was taken; None: the database is empty."""
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "alembic_version" not in tables:
            if any(name.startswith("aibridge_") for name in tables):
                raise DatabaseUnusable(f"{file.path} holds tables of ours, but not their version")
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise DatabaseUnusable(f"{file.path} cannot be read: {error}") from error
    revision = None if row is None else str(row[0])
    if revision is not None and revision not in REVISIONS:
        raise DatabaseUnusable(
            f"{file.path} was made by a newer aibridge (its tables are at {revision}, this version knows them up to "
            f"{REVISIONS[-1]}): use that version, or a backup from before the upgrade"
        )
    return revision

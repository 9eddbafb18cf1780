"""Runs the steps on a plain SQLite connection, in one transaction: a step that fails leaves nothing behind."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool


def run_migrations(connection: sqlite3.Connection) -> None:
    """Takes every step that was not yet taken. The caller holds the write lock.

    Raises:
        sqlite3.Error: nothing was changed.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    try:
        # alembic keeps its hands off a transaction that was begun by somebody else.
        with engine.begin() as wrapped:
            # SQLAlchemy begins nothing itself on a connection like this, and rolls back when it sees one first.
            wrapped.exec_driver_sql("BEGIN IMMEDIATE")
            config.attributes["connection"] = wrapped
            command.upgrade(config, "head")
    except DBAPIError as error:
        raise sqlite3.OperationalError(str(error.orig)) from error
    finally:
        if connection.in_transaction:
            connection.rollback()

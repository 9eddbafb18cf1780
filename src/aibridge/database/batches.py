"""Puts a batch of entries into the database in one transaction, or says what stood in the way.

A row that the database refuses must not keep the others out: then the rows go in one by one, each under a savepoint.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Literal

from aibridge.database.inbox import Entry
from aibridge.database.locks import FileLock
from aibridge.database.statements import Row, Statement

Refusal = tuple[Entry, str]
Verdict = Literal["row", "passing", "fatal"]


def made(entries: Sequence[Entry]) -> tuple[list[Entry], list[Refusal]]:
    """Makes the rows of `entries`: those that have one, and those whose record made none, with the reason."""
    good: list[Entry] = []
    refused: list[Refusal] = []
    for entry in entries:
        try:
            entry.row = entry.make()
        except Exception as error:  # noqa: BLE001 - a host's record may hold anything; one bad record stops no other
            refused.append((entry, f"the record cannot be written: {type(error).__name__}"))
        else:
            good.append(entry)
    return good, refused


def write(connection: sqlite3.Connection, lock: FileLock, entries: Sequence[Entry]) -> list[Refusal]:
    """Commits the rows of `entries`, which are durable on return; the refused ones are not among them.

    Raises:
        sqlite3.Error: nothing was committed, for a reason that is no single row's (see `verdict_on`).
    """
    groups: dict[Statement, list[Row]] = {}
    for entry in entries:
        if entry.row is not None:
            groups.setdefault(entry.statement, []).append(entry.row)
    try:
        with lock:
            _together(connection, groups)
    except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
        if verdict_on(error) != "row":
            raise
        with lock:
            return _one_by_one(connection, entries)
    return []


def verdict_on(error: Exception) -> Verdict:
    """Whether one row is to blame, or waiting may help, or this connection must not be used again.

    After a failed write or fsync nobody knows what is on the disk (https://lwn.net/Articles/752063/), so everything
    that is not known to be harmless is fatal. The codes: https://www.sqlite.org/rescode.html.
    """
    if isinstance(error, (OverflowError, UnicodeEncodeError, sqlite3.InterfaceError, sqlite3.ProgrammingError)):
        return "row"
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return "fatal"
    match code & 0xFF:
        case sqlite3.SQLITE_CONSTRAINT | sqlite3.SQLITE_MISMATCH | sqlite3.SQLITE_TOOBIG:
            return "row"
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_FULL:
            return "passing"
        case _:
            return "fatal"


def said(error: Exception) -> str:
    """The error as a person may read it. SQLite's messages name tables and columns, never values."""
    return f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"


def _together(connection: sqlite3.Connection, groups: dict[Statement, list[Row]]) -> None:
    ranked = sorted(groups, key=lambda statement: statement.rank)
    executions = [execution for statement in ranked for execution in statement.executions(groups[statement])]
    cursor = connection.cursor()
    if len(executions) == 1:  # a transaction by itself, and one hand-over of the interpreter lock instead of three
        cursor.execute(*executions[0])
        return
    cursor.execute("BEGIN IMMEDIATE")
    try:
        for text, values in executions:
            cursor.execute(text, values)
        cursor.execute("COMMIT")
    except BaseException:
        # SQLite has already rolled back after some errors. A rollback that fails is fatal, and says so itself.
        if connection.in_transaction:
            cursor.execute("ROLLBACK")
        raise


def _one_by_one(connection: sqlite3.Connection, entries: Sequence[Entry]) -> list[Refusal]:
    refused: list[Refusal] = []
    cursor = connection.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    try:
        for entry in sorted(entries, key=lambda entry: entry.statement.rank):
            if entry.row is None:
                continue
            cursor.execute("SAVEPOINT one")
            try:
                for text, values in entry.statement.executions([entry.row]):
                    cursor.execute(text, values)
            except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
                if verdict_on(error) != "row":
                    raise
                cursor.execute("ROLLBACK TO one")
                refused.append((entry, f"the database refused the record: {said(error)}"))
            cursor.execute("RELEASE one")
        cursor.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            cursor.execute("ROLLBACK")
        raise
    return refused

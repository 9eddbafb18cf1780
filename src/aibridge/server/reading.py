"""Reads what was recorded, for the API and the commands. Bounded: no question is answered with more than 1000
interceptions, nor with much more than 16 MiB of content, and none may take longer than a checkpoint can wait.

SQLAlchemy is loaded with this module: import it where it is used, not where a server starts.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    RowMapping,
    Select,
    Table,
    create_engine,
    func,
    select,
    tuple_,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from aibridge.database import schema
from aibridge.database.files import DatabaseFile, DatabaseUnusable
from aibridge.ports import Clock
from aibridge.server.filters import BadFilter, Filters

MOST = 1000  # interceptions in one answer
_PAGE_CONTENT = 16 * 1024 * 1024  # bytes of content in one answer of several: as much as one interception can have
_ROW = 512  # bytes beside its content that a row of a child takes at most in an answer, nearly always
_WEIGHED = 50  # interceptions at once: what is weighed and does not fit is read for nothing
_DEADLINE = 2.0  # seconds; a reader keeps the log from being emptied
_COUNTING = 0.5  # seconds of those; a count is a convenience
_OPCODES = 10_000  # of SQLite's machine between two looks at the clock: some 0.1 ms
_READERS = 4

_interceptions = schema.interceptions
_CHILDREN = {
    "token_usages": schema.token_usages,
    "user_prompts": schema.user_prompts,
    "tool_usages": schema.tool_usages,
    "model_thoughts": schema.model_thoughts,
}
_CONTENTS = (schema.user_prompts.c.prompt, schema.tool_usages.c.input, schema.model_thoughts.c.content)
_INTERNAL = ("arrival", "boot_id")
_OF_A_CHILD = ("arrival", "interception_id", "initiator_id")


class TookTooLong(Exception):
    """The answer was not found in time; a narrower question may be."""


@dataclass(frozen=True, slots=True)
class Page:
    """Interceptions, newest first. `count` is how many meet the filters in all; None: too many to count quickly.

    `next_after_id` is the `after_id` of the next page; None: there is none.
    """

    count: int | None
    results: list[dict[str, Any]]
    next_after_id: str | None


class Reading:
    """Questions to one up-to-date database, from any thread. `close` it.

    An interception is a dict: `id, initiator {id, username}, provider, provider_name, model, client, metadata,
    started_at, ended_at, state, cost`, the other columns of its row, and the lists `token_usages, user_prompts,
    tool_usages, model_thoughts` in order of arrival. Times are datetimes in UTC; `state` is `open` in flight; `cost` is
    in micro-dollars, None where a price is not known. `page_content` is how many bytes of prompts, arguments and
    thoughts a page of several may hold.
    """

    def __init__(self, file: DatabaseFile, clock: Clock, *, page_content: int = _PAGE_CONTENT) -> None:
        self._file = file
        self._clock = clock
        self._page_content = page_content
        self._engine = create_engine(
            "sqlite://",
            creator=file.reading,
            poolclass=QueuePool,
            pool_size=_READERS,
            max_overflow=0,
            pool_timeout=_DEADLINE,
        )

    def close(self) -> None:
        with closing(self._file.write_lock()) as lock, lock:
            self._engine.dispose()

    def interceptions(
        self, filters: Filters, *, limit: int = 100, after_id: str | None = None, only_initiator: str | None = None
    ) -> Page:
        """Those that meet the filters and come after `after_id`, the last one of the page before.

        They are fewer than `limit` where their content is long: a page has at least one, and holds `page_content`.

        `only_initiator` is the id of the one person whose interceptions exist for whoever asks.

        Raises:
            BadFilter: there is no interception `after_id`. TookTooLong. DatabaseUnusable.
        """
        with self._snapshot() as connection:
            conditions = _conditions(connection, filters, only_initiator)
            query = select(_interceptions).where(*conditions)
            if after_id is not None:
                query = query.where(_after(connection, after_id, only_initiator))
            query = query.order_by(_interceptions.c.started_at.desc(), _interceptions.c.arrival.desc())
            limit = max(1, min(limit, MOST))
            found = connection.execute(query.limit(limit + 1)).mappings().all()
            page = _fitting(connection, found[:limit], self._page_content)
            results = _with_children(connection, page)
            last = page[-1]["id"] if len(page) < len(found) else None
            return Page(self._count(connection, conditions), results, last)

    def interception(self, interception_id: str, *, only_initiator: str | None = None) -> dict[str, Any] | None:
        """One with everything, in flight or not; None: there is none for whoever asks.

        Raises:
            TookTooLong. DatabaseUnusable.
        """
        query = _owned(select(_interceptions).where(_interceptions.c.id == interception_id), only_initiator)
        with self._snapshot() as connection:
            found = _with_children(connection, connection.execute(query).mappings().all())
        return found[0] if found else None

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        """One consistent view, for as long as a reader may stay."""
        with self._borrowed() as connection:
            self._limit(connection, _DEADLINE)
            try:
                connection.exec_driver_sql("BEGIN")
                yield connection
            except DBAPIError as error:
                if _interrupted(error):
                    raise TookTooLong("the answer takes too long: ask for less") from error
                raise DatabaseUnusable(f"{self._file.path} cannot be read: {error.orig}") from error
            finally:
                _raw(connection).set_progress_handler(None, 0)
                connection.rollback()

    def _borrowed(self) -> Connection:
        try:
            return self._engine.connect()
        except PoolTimeout as error:
            raise TookTooLong("too many are reading: ask again") from error

    def _limit(self, connection: Connection, seconds: float) -> None:
        end = self._clock.monotonic() + seconds
        _raw(connection).set_progress_handler(lambda: self._clock.monotonic() > end, _OPCODES)

    def _count(self, connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> int | None:
        self._limit(connection, _COUNTING)
        try:
            return connection.execute(select(func.count()).select_from(_interceptions).where(*conditions)).scalar_one()
        except DBAPIError as error:
            if _interrupted(error):
                return None
            raise


def _conditions(connection: Connection, filters: Filters, only_initiator: str | None) -> list[ColumnElement[bool]]:
    row = _interceptions.c
    conditions: list[ColumnElement[bool]] = [
        row.ended_at.is_(None) if filters.state == "open" else row.ended_at.is_not(None)
    ]
    if filters.state not in (None, "open"):
        conditions.append(row.state == filters.state)
    if only_initiator is not None:
        conditions.append(row.initiator_id == only_initiator)
    if filters.initiator is not None:
        named = select(schema.users.c.id).where(schema.users.c.username == filters.initiator)
        conditions.append(row.initiator_id == (connection.execute(named).scalar_one_or_none() or filters.initiator))
    if filters.provider is not None:
        conditions.append((row.provider == filters.provider) | (row.provider_name == filters.provider))
    if filters.model is not None:
        conditions.append(row.model == filters.model)
    if filters.client is not None:
        conditions.append(row.client == filters.client)
    if filters.session is not None:
        conditions.append(row.session_id == filters.session)
    if filters.started_after is not None:
        conditions.append(row.started_at > filters.started_after)
    if filters.started_before is not None:
        conditions.append(row.started_at < filters.started_before)
    return conditions


def _after(connection: Connection, after_id: str, only_initiator: str | None) -> ColumnElement[bool]:
    row = _interceptions.c
    place = connection.execute(
        _owned(select(row.started_at, row.arrival).where(row.id == after_id), only_initiator)
    ).one_or_none()
    if place is None:
        raise BadFilter(f"there is no interception {after_id[:40]} to go on after")
    return tuple_(row.started_at, row.arrival) < tuple_(*place, types=[row.started_at.type, row.arrival.type])


def _owned(query: Select[Any], only_initiator: str | None) -> Select[Any]:
    return query if only_initiator is None else query.where(_interceptions.c.initiator_id == only_initiator)


def _fitting(connection: Connection, found: Sequence[RowMapping], room: int) -> Sequence[RowMapping]:
    """As many of the first ones as one answer has room for, but at least one."""
    for start in range(0, len(found), _WEIGHED):
        some = found[start : start + _WEIGHED]
        weights = _weights(connection, [row["id"] for row in some])
        for number, row in enumerate(some, start):
            room -= weights.get(row["id"], 0)
            if room < 0 and number:
                return found[:number]
    return found


def _weights(connection: Connection, ids: list[str]) -> Counter[str]:
    """Bytes of content by interception."""
    weights: Counter[str] = Counter()
    for content in _CONTENTS:
        interception_id = content.table.c.interception_id
        size = func.sum(func.coalesce(func.length(sql_cast(content, LargeBinary)), 0) + _ROW)
        query = select(interception_id, size).where(interception_id.in_(ids)).group_by(interception_id)
        weights.update({row[0]: row[1] for row in connection.execute(query)})
    return weights


def _with_children(connection: Connection, found: Sequence[RowMapping]) -> list[dict[str, Any]]:
    """One query a table, however many interceptions."""
    results = [_described(row) for row in found]
    by_id = {result["id"]: result for result in results}
    for name, table in _CHILDREN.items():
        for child in connection.execute(_of(table, list(by_id))).mappings():
            kept = {str(column): value for column, value in child.items() if column not in _OF_A_CHILD}
            by_id[child["interception_id"]][name].append(kept)
    for result in results:
        costs = [usage["cost"] for usage in result["token_usages"]]
        result["cost"] = sum(costs) if costs and None not in costs else None
    return results


def _of(table: Table, ids: list[str]) -> Select[Any]:
    return select(table).where(table.c.interception_id.in_(ids)).order_by(table.c.arrival)


def _described(row: RowMapping) -> dict[str, Any]:
    # SQLAlchemy names columns with a kind of `str` of its own, which is no key to msgspec.
    described: dict[str, Any] = {str(column): value for column, value in row.items() if column not in _INTERNAL}
    username = row["metadata"].get("username")
    described["initiator"] = {"id": described.pop("initiator_id"), "username": username}
    described["state"] = row["state"] or "open"
    return described | {name: [] for name in _CHILDREN}


def _raw(connection: Connection) -> sqlite3.Connection:
    """The connection that `DatabaseFile.reading` made."""
    return cast("sqlite3.Connection", connection.connection.dbapi_connection)


def _interrupted(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT

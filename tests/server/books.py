"""What the tables of a server say that its metrics count: the two must agree."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.scraping import Scraped, Series


class Books:
    """Sums over the tables. `boot`: only what one life of a process recorded. What was recovered nobody counted."""

    def __init__(self, database: Path, boot: str | None = None) -> None:
        self._database = database
        self._where = "ended_at IS NOT NULL AND state <> 'recovered' AND coalesce(?, boot_id) = boot_id"
        self._boot = boot

    def _rows(self, columns: str, table: str = "", which: str = "true") -> Iterator[tuple[Any, ...]]:
        joined = f"JOIN {table} AS f ON f.interception_id = i.id" if table else ""
        query = f"SELECT {columns} FROM aibridge_interceptions AS i {joined} WHERE {self._where} AND {which}"
        with closing(sqlite3.connect(self._database)) as connection:
            yield from connection.execute(query, (self._boot,)).fetchall()

    def interceptions(self) -> Series:
        ended = "CASE state WHEN 'completed' THEN 'completed' ELSE 'failed' END"
        return Counter(self._rows(f"provider_name, i.model, {ended}, route, client"))

    def state(self, *states: str) -> int:
        return sum(state in states for (state,) in self._rows("state"))

    def with_first_byte(self) -> int:
        return sum(1 for (first,) in self._rows("time_to_first_byte") if first is not None)

    def prompts(self) -> Series:
        return Counter(self._rows("provider_name, i.model, client", "aibridge_user_prompts"))

    def tools(self) -> Series:
        return Counter(self._rows("provider_name, i.model, tool", "aibridge_tool_usages", "NOT f.injected"))

    def injected(self) -> Series:
        """Those that were run. Of a turn that breaks off none is, though all that came of it is on record."""
        ran = "f.injected AND i.model <> 'simulate-cut'"
        return Counter(self._rows("provider_name, i.model, 'wiki', tool", "aibridge_tool_usages", ran))

    def ended(self, status: int) -> int:
        """How many were answered with this status."""
        return sum(found == status for (found,) in self._rows("http_status"))

    def tokens(self) -> Series:
        sums: Series = Counter()
        numbers = "f.input_tokens, f.output_tokens, f.cache_read_tokens, f.cache_write_tokens, f.extra"
        for *labels, given, made, read, written, extra in self._rows(
            f"provider_name, i.model, client, {numbers}", "aibridge_token_usages"
        ):
            types = {"input": given, "output": made, "cache_read": read, "cache_write": written}
            types |= {name: value for name, value in json.loads(extra or "{}").items() if isinstance(value, int)}
            for name, value in types.items():
                sums[*labels, name] += value
        return +sums  # without zeros, as the other side is


def agree(found: Scraped, books: Books) -> None:
    of_model = ("provider", "model")
    assert found.by("interceptions_total", *of_model, "status", "route", "client") == books.interceptions()
    assert found.by("prompts_total", *of_model, "client") == books.prompts()
    assert found.by("tokens_total", *of_model, "client", "type") == books.tokens()
    assert found.by("non_injected_tool_selections_total", *of_model, "name") == books.tools()
    assert found.total("client_disconnects_total") == books.state("client_gone")
    assert found.total("upstream_errors_total") == books.state("upstream_error", "upstream_stalled")
    assert found.total("interceptions_duration_seconds_count") == books.interceptions().total()
    assert found.total("time_to_first_byte_seconds_count") == books.with_first_byte()
    assert found.total("recording_failures_total") == 0


def last_boot(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT id FROM aibridge_boots ORDER BY started_at DESC LIMIT 1"
        return str(connection.execute(query).fetchone()[0])


def recovered(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT count(*) FROM aibridge_interceptions WHERE state = 'recovered'"
        return int(connection.execute(query).fetchone()[0])


def workers_of(database: Path) -> list[int]:
    with closing(sqlite3.connect(database)) as connection:
        return [pid for (pid,) in connection.execute("SELECT pid FROM aibridge_boots WHERE ended_at IS NULL")]

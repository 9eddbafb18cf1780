"""SQL that takes many rows at once. One execution for many rows is one hand-over of the interpreter lock, not many.

A statement's text is made once for each of a few sizes, so that SQLite's compiled statements are used again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

Value = str | int | float | bytes | None
Row = Sequence[Value]

_SIZES = (32, 16, 8, 4, 2, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """`before`, then a list of value tuples, then `after`. Compared by identity.

    In one batch, statements of lower `rank` run first. `content` marks rows that may be given up for want of room.
    """

    name: str
    before: str
    columns: int
    after: str
    rank: int
    content: bool = False
    value: str = ""  # one tuple of placeholders, where it is not plain `(?, ?, ...)`
    _texts: dict[int, str] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        one = self.value or f"({', '.join('?' * self.columns)})"
        for size in _SIZES:
            self._texts[size] = f"{self.before} {', '.join([one] * size)} {self.after}"

    def executions(self, rows: Sequence[Row]) -> Iterator[tuple[str, list[Value]]]:
        """Texts and values that put all `rows` to the database, in order."""
        start = 0
        for size in _SIZES:
            while len(rows) - start >= size:
                yield self._texts[size], list(chain.from_iterable(rows[start : start + size]))
                start += size


def insert(table: str, columns: str, *, rank: int, content: bool = False) -> Statement:
    """Adds rows, whose columns are named in order; a row whose unique id is there already changes nothing, so that a repeated record is harmless."""
    names = columns.split()
    before = f"INSERT INTO {table} ({', '.join(names)}) VALUES"
    return Statement(table, before, len(names), "ON CONFLICT DO NOTHING", rank, content)

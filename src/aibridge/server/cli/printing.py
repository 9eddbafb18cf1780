"""What commands print: JSON where asked for, a table on a terminal, and lines with tabs where another program reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

from aibridge.server.cli import standard_streams

_WIDEST = 1000  # columns of a terminal
_HIGHEST = 1000  # lines; nothing is cut at their end


def as_json(value: object) -> None:
    """One JSON document, indented; times in RFC 3339."""
    standard_streams.speak_utf_8()
    line(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def line(text: str) -> None:
    standard_streams.say(text)


def note(text: str) -> None:
    """For the person, beside the output."""
    print(text, file=sys.stderr)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            line("\t".join(" ".join(visible(cell).split()) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    plain = bool(os.environ.get("NO_COLOR"))
    drawn = Table(box=None, pad_edge=False, header_style="" if plain else "bold")
    for column in columns:
        drawn.add_column(column, no_wrap=True)
    for row in rows:
        drawn.add_row(*(Text(visible(cell)) for cell in row))
    # As wide as it is: a terminal goes on in its next line with what does not fit, and half an id is no use.
    # (Without a height rich takes 80 columns where TERM is `dumb`, whatever it is told.)
    console = Console(no_color=plain, width=_WIDEST, height=_HIGHEST)
    console.print(drawn, crop=False)


def moment(when: datetime | None) -> str:
    """A time for a person, in UTC; `-` where there is none."""
    return "-" if when is None else when.strftime("%Y-%m-%d %H:%M:%S")


def visible(text: str) -> str:
    """Text of anybody's making without what would move a terminal's cursor or change its colours."""
    return "".join(character if character.isprintable() else " " for character in text)

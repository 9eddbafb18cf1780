"""What a reader asks for: `initiator:alice provider:openai started_after:24h`, as words of a query or one by one.

An unknown word, a word that comes twice and a value that cannot be are refused, so that a typing error never shows
everything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import get_args

from aibridge.records import State

_WORD = re.compile(r'(?P<name>[^\s:"]+):(?:"(?P<quoted>[^"]*)"|(?P<plain>[^\s"]+))(?=\s|$)')
_AGO = re.compile(r"(\d{1,6})(s|m|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
STATES = (*get_args(State), "open")
"""What an interception can be; `open` is still in flight."""


class BadFilter(Exception):
    """The question cannot be answered as it stands. The message is one line for the person who asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Every one that is given must hold. Without `state`, what is still in flight is left out."""

    initiator: str | None = None  # an id or a user name
    provider: str | None = None  # a type or an instance
    model: str | None = None
    client: str | None = None
    session: str | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
    state: str | None = None


NAMES = tuple(field.name for field in fields(Filters))


def parsed_query(query: str, now: datetime) -> Filters:
    """The filters in the words of a query; a value with spaces stands in double quotes.

    Raises:
        BadFilter
    """
    values: dict[str, str] = {}
    rest = query.strip()
    while rest:
        match = _WORD.match(rest)
        if match is None:
            raise BadFilter(
                f'cannot read "{rest[:40]}": a query is made of name:value, the names are {", ".join(NAMES)}'
            )
        name = match["name"]
        if name in values:
            raise BadFilter(f"{name} is there twice")
        values[name] = match["plain"] if match["quoted"] is None else match["quoted"]
        rest = rest[match.end() :].strip()
    return filters_from(values, now)


def filters_from(values: dict[str, str], now: datetime) -> Filters:
    """The filters that the named values mean.

    Raises:
        BadFilter
    """
    known: dict[str, str] = {}
    moments: dict[str, datetime] = {}
    for name, value in values.items():
        if name not in NAMES:
            raise BadFilter(f"there is no filter {name}: the filters are {', '.join(NAMES)}")
        if not value:
            raise BadFilter(f"{name} has no value")
        if name in ("started_after", "started_before"):
            moments[name] = moment(value, now)
        elif name == "state" and value not in STATES:
            raise BadFilter(f"there is no state {value}: it is one of {', '.join(STATES)}")
        else:
            known[name] = value
    return Filters(
        initiator=known.get("initiator"),
        provider=known.get("provider"),
        model=known.get("model"),
        client=known.get("client"),
        session=known.get("session"),
        started_after=moments.get("started_after"),
        started_before=moments.get("started_before"),
        state=known.get("state"),
    )


def moment(text: str, now: datetime) -> datetime:
    """A time as people write it: RFC 3339 (`2026-11-20T22:43:01Z`), a day (UTC), or how long ago (`24h`, `30d`).

    Raises:
        BadFilter
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        written = datetime.fromisoformat(text)
        return written.replace(tzinfo=UTC) if written.tzinfo is None else written.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadFilter(
            f"{text[:40]} is no time: write 2026-11-20T22:43:01Z, 2026-11-20, or 24h for a day ago"
        ) from None

"""What a query string asks for. Whatever is not known, or is there twice, is refused: a typing error shows nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from datetime import datetime

from aibridge.server.filters import NAMES, BadFilter, Filters, filters_from, parsed_query

MOST = 1000
USUAL = 100
PAGING = ("q", "limit", "after_id")
# The word `me` by itself, outside of double quotes.
_ME = re.compile(r'(?<!\S)me(?!\S)(?=(?:[^"]*"[^"]*")*[^"]*\Z)')


@dataclass(frozen=True, slots=True)
class Asked:
    """One page of interceptions."""

    filters: Filters
    limit: int = USUAL
    after_id: str | None = None


def asked(parameters: Iterable[tuple[str, str]], *, me: str, now: datetime) -> Asked:
    """The page that the parameters of a request describe; `me` is the id of whoever asks.

    Raises:
        BadFilter
    """
    given: dict[str, str] = {}
    for name, value in parameters:
        if name not in NAMES and name not in PAGING:
            raise BadFilter(f"there is no parameter {name[:40]}: there are {', '.join((*PAGING, *NAMES))}")
        if name in given:
            raise BadFilter(f"{name} is there twice")
        given[name] = value
    query = parsed_query(_ME.sub("initiator:me", given.pop("q", "")), now)
    limit = _limit(given.pop("limit", str(USUAL)))
    after_id = given.pop("after_id", None)
    filters = _both(query, filters_from(given, now))
    if filters.initiator == "me":
        filters = replace(filters, initiator=me)
    return Asked(filters, limit, after_id)


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MOST:
        raise BadFilter(f"limit must be a number from 1 to {MOST}")
    return int(text)


def _both(query: Filters, plain: Filters) -> Filters:
    values = {}
    for field in fields(Filters):
        one, other = getattr(query, field.name), getattr(plain, field.name)
        if one is not None and other is not None:
            raise BadFilter(f"{field.name} is there twice")
        values[field.name] = one if other is None else other
    return Filters(**values)

"""Moments as SQLite keeps them: UTC, one width, so that the order of the text is the order of time."""

from __future__ import annotations

from datetime import UTC, datetime


def as_text(moment: datetime) -> str:
    """`2026-11-20 22:43:01.123456`, the form that SQLAlchemy's DateTime reads."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(" ", "microseconds")[:26]


def from_text(text: str) -> datetime:
    """The moment that `as_text` wrote."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)

"""Time that passes only when a test lets it, and ids that count."""

import itertools
from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2026, 11, 20, 12, tzinfo=UTC)


class FakeClock:
    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return 1000.0 + self.passed


class CountingIds:
    """UUIDv7s in their order, as text."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self) -> str:
        return f"01980000-0000-7000-8000-{next(self._numbers):012d}"

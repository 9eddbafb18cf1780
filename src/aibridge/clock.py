"""The real clock and the real ids. Everything else takes them as arguments."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from uuid_utils import uuid7


class SystemClock:
    """See `aibridge.ports.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def new_id() -> str:
    """A UUIDv7 (RFC 9562) as lower-case text. See `aibridge.ports.Ids`."""
    return str(uuid7())

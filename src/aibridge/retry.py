"""Whether an answer is worth asking again, and after how long. The rules are those of the providers' own SDKs.

Source: `_should_retry` and `_calculate_retry_timeout` of the anthropic and openai Python SDKs; RFC 9110 section 10.2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from aibridge.errors import Header

LONGEST_WAIT = 60.0
"""Seconds. A provider that wants more is answered on to the client, who knows better whether to wait."""
_FIRST, _MOST = 0.5, 8.0  # seconds of the back-off
_JITTER = 0.25  # of the back-off, so that those who failed together do not come back together


def worth_retrying(status: int, headers: Sequence[Header]) -> bool:
    """Whether the same request may get a better answer. The provider's own word counts most."""
    match _value(headers, b"x-should-retry"):
        case b"true":
            return True
        case b"false":
            return False
    return status in (408, 409, 429) or status >= 500


def told_to_wait(headers: Sequence[Header], now: datetime) -> float | None:
    """Seconds that the provider said to wait: `retry-after-ms`, or `Retry-After` as a number or a date."""
    milliseconds = _number(_value(headers, b"retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    told = _value(headers, b"retry-after")
    seconds = _number(told)
    if seconds is not None or not told:
        return seconds
    try:
        date = parsedate_to_datetime(told.decode("latin-1"))
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())


def back_off(retries: int, randomness: Callable[[], float]) -> float:
    """Seconds before the next attempt when the provider said nothing. `retries` is how many there were already."""
    return float(min(_FIRST * 2**retries, _MOST)) * (1 - _JITTER * randomness())


def _value(headers: Sequence[Header], wanted: bytes) -> bytes:
    return next((value.strip().lower() for name, value in headers if name.lower() == wanted), b"")


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None

"""Tells those who wait for a record: one call into each event loop for a whole batch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from aibridge.errors import RecordingFailed

_log = logging.getLogger(__name__)


def tell(waiters: Iterable[asyncio.Future[None] | None], reason: str | None) -> None:
    """From any thread: the records are durable, or they are not for `reason` (RecordingFailed)."""
    waiting: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for waiter in waiters:
        if waiter is not None:
            waiting.setdefault(waiter.get_loop(), []).append(waiter)
    for loop, those in waiting.items():
        try:
            loop.call_soon_threadsafe(_wake, those, reason)
        except RuntimeError:
            _log.debug("an event loop was closed before its records were durable")


def _wake(waiters: Sequence[asyncio.Future[None]], reason: str | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if reason is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(RecordingFailed(reason))

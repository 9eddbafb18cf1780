"""What a serving process looks after from time to time: keys that died under a stream, and a store that did."""

from __future__ import annotations

import asyncio
import logging

from aibridge.bridge import RequestBridge
from aibridge.database.files import DatabaseUnusable
from aibridge.server.auth.authenticator import DENIED
from aibridge.server.people import People
from aibridge.server.store import Store

EVERY = 15.0
"""Seconds between two looks at the keys in use: open streams of a suspended user end within a minute."""
_STORE_EVERY = 1.0  # seconds
_AT_ONCE = 256  # keys that are looked up before others get a turn; some 4 ms

_log = logging.getLogger(__name__)


async def end_what_dead_keys_opened(bridge: RequestBridge, people: People, every: float = EVERY) -> None:
    """Ends what was let in by keys that were revoked, expired or deleted since, or whose owner was suspended."""
    while True:
        await asyncio.sleep(every)
        for number, key_id in enumerate(bridge.credentials_in_use):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            try:
                known = people.look_up(key_id)
            except DatabaseUnusable:
                break  # nobody can say; the next look may
            denial = "unknown" if known is None else people.why_dead(known)
            if denial is not None:
                _log.warning("ended what a dead key had opened", extra={"key_id": key_id, "reason": denial})
                bridge.abort_credential(key_id, DENIED[denial])


async def failure_of(store: Store) -> None:
    """Returns when the store will keep no more records."""
    while True:
        await asyncio.sleep(_STORE_EVERY)
        if store.has_failed:
            _log.critical("no more records can be kept: draining")
            return

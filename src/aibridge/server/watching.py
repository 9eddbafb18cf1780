"""What a serving process looks after from time to time: keys and tokens that died under a stream, and a store that did."""

from __future__ import annotations

import asyncio
import logging

from aibridge.bridge import RequestBridge
from aibridge.database.files import DatabaseUnusable
from aibridge.server.auth.authenticator import GatewayAuthenticator
from aibridge.server.auth.denials import Denied
from aibridge.server.store import Store

EVERY = 15.0
"""Seconds between two looks at the keys in use: open streams of a suspended user end within a minute."""
_STORE_EVERY = 1.0  # seconds
_AT_ONCE = 256  # keys that are looked up before others get a turn; some 4 ms

_log = logging.getLogger(__name__)


async def end_what_dead_keys_opened(
    bridge: RequestBridge, authenticator: GatewayAuthenticator, every: float = EVERY
) -> None:
    """Ends what was let in by keys or tokens that were revoked, expired or deleted since, or whose owner was suspended."""
    while True:
        await asyncio.sleep(every)
        for number, credential_id in enumerate(bridge.credentials_in_use):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            try:
                found = authenticator.standing(credential_id)
            except DatabaseUnusable:
                break  # nobody can say; the next look may
            if isinstance(found, Denied):
                told = {"key_id": credential_id, "reason": found.reason}
                _log.warning("ended what a dead key had opened", extra=told)
                bridge.abort_credential(credential_id, found.words)


async def failure_of(store: Store, every: float = _STORE_EVERY) -> None:
    """Returns when the store will keep no more records, or nobody will find them."""
    while True:
        await asyncio.sleep(every)
        if store.has_failed:
            _log.critical("no more records can be kept: draining")
            return
        if store.is_displaced:
            _log.critical(
                "the database file was moved, removed or replaced: draining", extra={"path": str(store.file.path)}
            )
            return

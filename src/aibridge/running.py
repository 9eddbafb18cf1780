"""One request while it runs: what ends it before its time, and the watch for a client that hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from aibridge.reply_writer import ON_DISCONNECT, Interruption, Receive, ReplyWriter, watch_disconnect


@dataclass(slots=True, eq=False)
class Run:
    """A request that is running, from before it is known whose it is."""

    task: asyncio.Task[Any]
    interruption: Interruption
    credential_id: str | None = None  # of what let it in


async def watched(
    scope: Mapping[str, Any],
    receive: Receive,
    writer: ReplyWriter,
    interruption: Interruption,
    work: Coroutine[Any, Any, None],
    *,
    reads_on: float | None = None,
) -> None:
    """Runs `work` while watching for the client to hang up. It then may go on for `reads_on` seconds, or is interrupted."""
    loop = asyncio.get_running_loop()
    enough: asyncio.TimerHandle | None = None

    def gone() -> None:
        nonlocal enough
        writer.abandon()
        if reads_on is not None:
            enough = loop.call_later(reads_on, interruption.interrupt, "client_gone")
        else:
            interruption.interrupt("client_gone")

    tell: Callable[[Callable[[], None] | None], None] | None = (scope.get("extensions") or {}).get(ON_DISCONNECT)
    watcher = None
    if tell is not None:
        tell(gone)
    else:
        watcher = loop.create_task(watch_disconnect(receive, gone))
    try:
        await work
    finally:
        if tell is not None:
            tell(None)
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait([watcher])
        if enough is not None:
            enough.cancel()

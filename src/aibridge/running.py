"""Requests while they run: which are let in, what ends them before their time, the watch for a client that hangs up.

Who was let in counts as running until it has left: nothing that it needs is closed before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from aibridge.errors import Problem, Refused
from aibridge.reply_writer import ON_DISCONNECT, Interruption, Receive, ReplyWriter, watch_disconnect
from aibridge.scope_authenticator import UNAUTHORIZED


@dataclass(slots=True, eq=False)
class Run:
    """A request that is running, from before it is known whose it is."""

    task: asyncio.Task[Any]
    interruption: Interruption
    credential_id: str | None = None  # of what let it in


class Runs:
    """What is running in one bridge. Nothing is let in before `open`, nor from `start_draining` on."""

    __slots__ = ("_idle", "_running", "_state")

    def __init__(self) -> None:
        self._running: set[Run] = set()
        self._idle: asyncio.Event | None = None
        self._state: Literal["new", "open", "draining", "closed"] = "new"

    def open(self) -> None:
        self._idle = asyncio.Event()
        self._idle.set()
        self._state = "open"

    async def close(self, within: float) -> None:
        """Ends all and returns when none is left. What has not ended `within` so many seconds is cancelled."""
        self.start_draining()
        self.abort()
        try:
            async with asyncio.timeout(within):
                await self.drained()
        except TimeoutError:
            # What still runs waits for somebody who does not read, or for a door that hangs.
            for run in self._running:
                run.task.cancel()
            await self.drained()
        self._state = "closed"

    def enter(self, limit: int) -> Run:
        """The request of the current task runs from now on, until `leave`. `limit`: how many may at once; 0 for any number.

        Raises: Refused, when it may not.
        """
        if self._state != "open":
            starting = self._state == "new"
            raise Refused(Problem(503, "the gateway is not started" if starting else "the gateway is shutting down"))
        if limit and len(self._running) >= limit:
            raise Refused(Problem(503, "the gateway is at its limit of requests", headers=[(b"retry-after", b"1")]))
        task = asyncio.current_task()
        assert task is not None
        run = Run(task, Interruption(task))
        self._running.add(run)
        if self._idle is not None:
            self._idle.clear()
        return run

    def leave(self, run: Run) -> None:
        self._running.discard(run)
        if not self._running and self._idle is not None:
            self._idle.set()

    @property
    def count(self) -> int:
        return len(self._running)

    @property
    def credentials(self) -> set[str]:
        """The ids of those that let in what is running."""
        return {run.credential_id for run in self._running if run.credential_id is not None}

    def start_draining(self) -> None:
        if self._state == "open":
            self._state = "draining"

    async def drained(self) -> None:
        """Returns when nothing is running."""
        if self._idle is not None:
            await self._idle.wait()

    def abort(self) -> None:
        for run in self._running:
            run.interruption.interrupt("gateway_aborted")

    def abort_credential(self, credential_id: str, why: str) -> None:
        """The same for what this credential let in; its clients are told `why`."""
        problem = Problem(401, why, headers=UNAUTHORIZED)
        for run in self._running:
            if run.credential_id == credential_id:
                run.interruption.interrupt("gateway_aborted", problem)


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

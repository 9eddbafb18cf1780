"""Send an answer through ASGI, one send per step, and notice a client that goes away.

Only this file awaits while an answer is under way; it never buffers more than one step.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from aibridge.server.demo.simulator.exchange import Answer, Step

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Hangup: TypeAlias = Callable[[bool], None]
"""Ends the connection: with a reset when True, else with a FIN after what was written. ``receive`` then says so."""


@dataclass(frozen=True, slots=True)
class Line:
    """The connection to one client, and what to do with it.

    ``completed`` is called as soon as the last byte of an answer was handed over to a client that was still there,
    before anything else can run: who has read an answer to its end finds it completed in the ledger. Without
    ``hang_up`` a connection is broken off by returning from the application before the answer's end.
    """

    receive: Receive
    send: Send
    hang_up: Hangup | None
    completed: Callable[[], None]


async def deliver(answer: Answer, line: Line, pace: float) -> None:
    """Send the answer, or as much of it as its steps and the client let through."""
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(_until_gone(line.receive))
        try:
            await _Delivery(answer, line, gone, pace if answer.streamed else 0.0).run()
        finally:
            gone.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Delivery:
    """One answer on its way."""

    __slots__ = ("_answer", "_gone", "_line", "_pace", "_started")

    def __init__(self, answer: Answer, line: Line, gone: asyncio.Task[None], pace: float) -> None:
        self._answer = answer
        self._line = line
        self._gone = gone
        self._pace = pace
        self._started = False

    async def run(self) -> None:
        ended = False
        for step, last in _with_last(self._answer.steps):
            match step:
                case bytes():
                    await self._body(step, last=last)
                    ended = last
                case asyncio.Event():
                    await self._opened(step)
                case "reset" | "cut":
                    await self._broken_off(reset=step == "reset")
                    return
            if self._gone.done():
                return
        if not ended:
            await self._body(b"", last=True)

    async def _body(self, data: bytes, *, last: bool) -> None:
        """One send, unless the client went away before it."""
        if not self._started:
            self._started = True
            await self._line.send(
                {"type": "http.response.start", "status": self._answer.status, "headers": self._answer.headers}
            )
        elif self._pace:
            await asyncio.wait({self._gone}, timeout=self._pace)
        # Lets the loop see a client that hung up, also when nothing else in the stream waits.
        await asyncio.sleep(0)
        if self._gone.done():
            return
        await self._line.send({"type": "http.response.body", "body": data, "more_body": not last})
        if last:
            self._line.completed()

    async def _opened(self, gate: asyncio.Event) -> None:
        """Wait at a gate until it opens or the client goes away."""
        opening = asyncio.ensure_future(gate.wait())
        try:
            await asyncio.wait({opening, self._gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)

    async def _broken_off(self, *, reset: bool) -> None:
        """Break the connection off. The server must know that it is gone before the application returns."""
        if self._line.hang_up is not None:
            self._line.hang_up(reset)
            await self._gone


def _with_last(steps: Iterable[Step]) -> Iterator[tuple[Step, bool]]:
    """Each step, and whether it is the last: the end of the body then goes out in the same write as the last event,
    since a client may hang up as soon as it has read that.
    """
    remaining = iter(steps)
    held = next(remaining, None)
    while held is not None:
        following = next(remaining, None)
        yield held, following is None
        held = following

"""Send an answer through ASGI, one send per step, and notice a client that goes away.

Only this file awaits while an answer is under way; it never buffers more than one step.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any, TypeAlias

from aibridge.server.demo.simulator.exchange import Answer, Step

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Hangup: TypeAlias = Callable[[bool], None]
"""Ends the connection: with a reset when True, else with a FIN after what was written."""


async def deliver(answer: Answer, receive: Receive, send: Send, hang_up: Hangup, pace: float) -> bool:
    """Send the answer; True when its last byte was handed over to a client that was still there."""
    async with asyncio.TaskGroup() as group:
        gone = group.create_task(_until_gone(receive))
        try:
            return await _Delivery(answer, send, hang_up, gone, pace if answer.streamed else 0.0).run()
        finally:
            gone.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Delivery:
    """One answer on its way."""

    __slots__ = ("_answer", "_gone", "_hang_up", "_pace", "_send", "_started")

    def __init__(self, answer: Answer, send: Send, hang_up: Hangup, gone: asyncio.Task[None], pace: float) -> None:
        self._answer = answer
        self._send = send
        self._hang_up = hang_up
        self._gone = gone
        self._pace = pace
        self._started = False

    async def run(self) -> bool:
        finished = False
        for step, last in _with_last(self._answer.steps):
            match step:
                case bytes():
                    if not await self._body(step, last=last):
                        return False
                    finished = last
                case asyncio.Event():
                    if not await self._opened(step):
                        return False
                case "reset" | "cut":
                    await self._end(reset=step == "reset")
                    return False
        return finished or await self._body(b"", last=True)

    async def _body(self, data: bytes, *, last: bool) -> bool:
        """One send; False when the client went away before it."""
        if not self._started:
            self._started = True
            await self._send(
                {"type": "http.response.start", "status": self._answer.status, "headers": self._answer.headers}
            )
        elif self._pace:
            await asyncio.wait({self._gone}, timeout=self._pace)
        # Lets the loop see a client that hung up, also when nothing else in the stream waits.
        await asyncio.sleep(0)
        if self._gone.done():
            return False
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})
        return True

    async def _opened(self, gate: asyncio.Event) -> bool:
        """Wait at a gate; False when the client went away before it opened."""
        opening = asyncio.ensure_future(gate.wait())
        try:
            await asyncio.wait({opening, self._gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            opening.cancel()
        return not self._gone.done()

    async def _end(self, *, reset: bool) -> None:
        """Break the connection off. The server must know that it is gone before the application returns."""
        self._hang_up(reset)
        await asyncio.wait({self._gone}, timeout=1.0)


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

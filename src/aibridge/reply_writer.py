"""The one place that calls ASGI `send`. Awaiting it is the back-pressure: a slow client slows its upstream.

An `Interruption` lets others (the client by hanging up, the gateway by shutting down) end the block that an
interception runs in, at whatever it awaits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from types import TracebackType
from typing import Any, Literal

from aibridge.errors import Header, Problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ON_DISCONNECT = "aibridge.on_disconnect"
"""An ASGI extension of our own server: a function that takes what to call when the client hangs up, or None for
nothing any more. Elsewhere a task has to wait for that (`watch_disconnect`), which costs a tenth of a small request."""

WRITE_NOW = "aibridge.write_now"
"""Another: a method that takes bytes of the body without being awaited, or says False (see `ReplyWriter.write_now`)."""

Way = tuple[Send, Callable[[bytes], bool] | None]
InterruptReason = Literal["client_gone", "gateway_aborted"]


class Interrupted(Exception):
    """The block was ended from outside. `problem` is what the client is told, where whoever ended it said so."""

    def __init__(self, reason: InterruptReason, problem: Problem | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.problem = problem


class Interruption:
    """An async block that `interrupt` ends, raising Interrupted from it. The first reason counts.

    It may be entered again, and is not entered at all once there is a reason. What `asyncio.timeout` does with a
    timer, this does with a word from outside: one cancellation, taken back exactly once.
    """

    __slots__ = ("_active", "_cancelled", "_cancelling", "_due", "_task", "problem", "reason")

    def __init__(self, task: asyncio.Task[object] | None = None) -> None:
        """`task` is the one that will enter the block, where that is known."""
        self.reason: InterruptReason | None = None
        self.problem: Problem | None = None
        self._task = task
        self._active = False
        self._cancelled = False
        self._cancelling = 0  # requests to cancel that others had made before the block
        self._due: asyncio.Handle | None = None

    def interrupt(self, reason: InterruptReason, problem: Problem | None = None) -> None:
        if self.reason is None:
            self.reason = reason
            self.problem = problem
            if self._active and self._task is not None:
                # Not at once: said from within the block, it could strike after the block's end.
                self._due = self._task.get_loop().call_soon(self._cancel)

    def disarm(self) -> None:
        """From now on `interrupt` changes nothing but `reason`."""
        self._active = False
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def hold(self) -> bool:
        """Until `release`, which takes what this returns, `interrupt` waits: what is under way must not be torn."""
        armed = self._active
        self.disarm()
        return armed

    def release(self, armed: bool) -> None:
        """Raises: Interrupted, when somebody wanted it meanwhile."""
        if armed:
            if self.reason is not None:
                raise Interrupted(self.reason, self.problem)
            self._active = True

    async def __aenter__(self) -> None:
        if self.reason is not None:
            raise Interrupted(self.reason, self.problem)
        if self._task is None:
            self._task = asyncio.current_task()
            assert self._task is not None
        self._cancelling = self._task.cancelling()
        self._active = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.disarm()
        if self._cancelled and self._task is not None and self.reason is not None:
            self._cancelled = False
            # More requests than before: somebody else wants the task to end, which goes first.
            if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise Interrupted(self.reason, self.problem) from None

    def _cancel(self) -> None:
        self._due = None
        if self._active and self._task is not None:
            self._active = False
            self._cancelled = True
            self._task.cancel()


class ReplyWriter:
    """Sends one answer. After `abandon` everything is dropped: the client is gone."""

    __slots__ = ("_gone", "_send", "_write_now", "ended", "on_leave", "status")

    def __init__(self, send: Send, extensions: Mapping[str, Any] | None = None) -> None:
        self._send = send
        write_now = (extensions or {}).get(WRITE_NOW)
        # Whoever stands between the server and us has a `send` of its own, and is not to be passed by.
        direct = write_now is not None and getattr(send, "__self__", None) is write_now.__self__
        self._write_now: Callable[[bytes], bool] | None = write_now if direct else None
        self._gone = False
        self.on_leave: Callable[[], None] | None = None
        """Called when the client is found to be gone."""
        self.status: int | None = None
        """What the client was told; None until the answer has begun."""
        self.ended = False

    @property
    def way(self) -> Way:
        """How it sends: ASGI's, and what takes bytes of the body at once, where there is one."""
        return self._send, self._write_now

    def go_by(self, way: Way) -> None:
        """Sends this way from now on."""
        self._send, self._write_now = way

    @property
    def gone(self) -> bool:
        return self._gone

    def abandon(self) -> None:
        self._gone = True
        if self.on_leave is not None:
            self.on_leave()

    async def start(self, status: int, headers: Sequence[Header]) -> None:
        await self._hand_on({"type": "http.response.start", "status": status, "headers": headers})
        self.status = status  # not before: a send that was interrupted while it waited has sent nothing

    @property
    def writes_now(self) -> bool:
        """The answer has begun, and `write_now` may take what follows."""
        return self._write_now is not None and self.status is not None

    def write_now(self, data: bytes) -> bool:
        """Sends bytes of the body if that needs no waiting. False: nothing was sent, and `send` is to be awaited."""
        return self._gone or (self._write_now is not None and self._write_now(data))

    @property
    def at_once(self) -> Callable[[bytes], bool]:
        """The same, shorter: the server's own, which says False where the client is gone."""
        return self._write_now or self.write_now

    async def send(self, data: bytes) -> None:
        if data:
            await self._hand_on({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes = b"") -> None:
        self.ended = True
        await self._hand_on({"type": "http.response.body", "body": data, "more_body": False})

    async def _hand_on(self, message: Message) -> None:
        if self._gone:
            return
        try:
            await self._send(message)
        except OSError:  # ASGI's word for a client that has disconnected
            self.abandon()

    async def answer(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        """A whole answer of known length."""
        length = (b"content-length", b"%d" % len(body))
        await self.start(status, [*[h for h in headers if h[0].lower() != b"content-length"], length])
        await self.end(body)


async def watch_disconnect(receive: Receive, on_gone: Callable[[], None]) -> None:
    """Calls `on_gone` when the client hangs up. The request body must have been read."""
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    except OSError:  # some servers say it so
        pass
    on_gone()


async def to_its_end(work: Coroutine[Any, Any, object]) -> None:
    """Waits for `work`, however often the waiter is cancelled: some hosts cancel until it gives up."""
    task = asyncio.get_running_loop().create_task(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((task,))

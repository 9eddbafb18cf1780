"""Keeps a stream alive while nothing is said on it: a frame that means nothing, after so many seconds of silence.

Only between whole events, only once the provider has answered, and never together with anything else that is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from aibridge.errors import Header

if TYPE_CHECKING:  # values that are handed in; siblings do not know each other at run time
    from aibridge.reply_writer import Message, ReplyWriter

_ENDS_OF_EVENTS = (b"\n\n", b"\n\r\n", b"\r\r")
_LOOKS = 4  # in an interval; so much more than it the silence may last. An event itself costs one assignment.


class KeepAlive:
    """An async block around whatever is sent through `writer`. Once it is left, nothing of it is sent any more."""

    __slots__ = (
        "_beat",
        "_frame",
        "_head",
        "_interval",
        "_last",
        "_looked_at",
        "_quiet",
        "_saying",
        "_send",
        "_sending",
        "_started",
        "_timer",
        "_write_now",
        "_writer",
    )

    def __init__(self, writer: ReplyWriter, frame: bytes, interval: float) -> None:
        self._writer = writer
        self._frame = frame
        self._interval = interval
        self._send, self._write_now = writer.way
        self._sending = asyncio.Lock()
        self._saying = False
        self._head: tuple[int, list[Header]] | None = None
        self._started = False
        self._last = b"\n\n"  # what was sent last
        self._looked_at = self._last
        self._quiet = 0  # looks since something was sent
        self._timer: asyncio.TimerHandle | None = None
        self._beat: asyncio.Task[None] | None = None

    def may_start(self, status: int, headers: Sequence[Header]) -> None:
        """The provider has answered: from now on, if it stays silent, the answer begins with a frame under this head."""
        if self._head is None:
            self._head = (status, list(headers))
            self._rest()

    async def __aenter__(self) -> None:
        self._writer.go_by((self._pass_on, None if self._write_now is None else self.write_now))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        if self._beat is not None:
            self._beat.cancel()
            await asyncio.wait((self._beat,))
        self._writer.go_by((self._send, self._write_now))

    async def _pass_on(self, message: Message) -> None:
        """In the place of ASGI `send`."""
        async with self._sending:
            if message["type"] == "http.response.start":
                if not self._started:
                    await self._send(message)
                    self._started = True
            else:
                await self._send(message)
                self._last = message["body"] or self._last
                if not message["more_body"]:
                    self._stop()

    def write_now(self, data: bytes) -> bool:
        """In the place of `ReplyWriter.write_now` while the block runs. `data` is not empty."""
        if self._saying or self._write_now is None or not self._write_now(data):
            return self._writer.gone
        self._last = data
        return True

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rest(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval / _LOOKS, self._look)

    def _look(self) -> None:
        if self._last is not self._looked_at:
            self._looked_at, self._quiet = self._last, 0
        self._quiet += 1
        between = self._last.endswith(_ENDS_OF_EVENTS)
        if self._quiet > _LOOKS and between and not self._sending.locked() and not self._writer.gone:
            self._quiet = 1
            self._beat = asyncio.get_running_loop().create_task(self._say())
        self._rest()

    async def _say(self) -> None:
        async with self._sending:
            if self._timer is None:  # the answer ended meanwhile
                return
            self._saying = True
            try:
                if not self._started and self._head is not None:
                    status, headers = self._head
                    await self._send({"type": "http.response.start", "status": status, "headers": headers})
                    self._started = True
                    self._writer.status = status  # whoever wants to say something says it in the midst of a stream now
                await self._send({"type": "http.response.body", "body": self._frame, "more_body": True})
            except OSError:  # the client hung up
                self._writer.abandon()
            finally:
                self._saying = False

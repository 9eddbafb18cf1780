"""One request and its response on a connection: the ASGI `receive` and `send` of one call of the application.

The head of a response leaves together with the first piece of its body, in one write; nothing else is held back.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from aibridge.errors import AnswerBroken
from aibridge.reply_writer import ON_DISCONNECT, WRITE_NOW
from aibridge.server.http.asgi import Application, Headers, Message, Scope
from aibridge.server.http.outlet import Outlet
from aibridge.server.http.refusals import FAILED
from aibridge.server.http.reply_head import ReplyHead, reply_head

_log = logging.getLogger("aibridge.server.http")


class ClientGone(OSError):
    """Nobody takes what is sent. (ASGI asks for an OSError; silence would let an endless stream go on for ever.)"""


class Wire(Protocol):
    """What an exchange needs of the connection that it is on."""

    outlet: Outlet
    last_request: bool  # no other request will be read from this connection

    @property
    def default_headers(self) -> Headers: ...

    def write(self, data: bytes) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def answered(self, exchange: "Exchange") -> None:
        """The response of `exchange` is complete."""

    def break_off(self, exchange: "Exchange") -> None:
        """The response of `exchange` cannot be completed."""


class Exchange:
    """Made when a request's head is complete; lives until the application returns."""

    __slots__ = (
        "_arrived",
        "_awaits_continue",
        "_buffered",
        "_chunks",
        "_head",
        "_in_chunks",
        "_left",
        "_most_unread",
        "_news",
        "_on_disconnect",
        "_taken",
        "_unsent_head",
        "_wire",
        "complete",
        "disconnected",
        "keep_alive",
        "scope",
        "started",
    )

    def __init__(self, wire: Wire, scope: Scope, *, keep_alive: bool, awaits_continue: bool, most_unread: int) -> None:
        self._wire = wire
        self._most_unread = most_unread
        self.scope = scope
        self.keep_alive = keep_alive
        self.disconnected = False
        self._awaits_continue = awaits_continue
        self._news: asyncio.Event | None = None
        self._on_disconnect: Callable[[], None] | None = None
        # The request's body.
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._arrived = False
        self._taken = False
        # The response.
        self.started = False
        self.complete = False
        self._head: ReplyHead | None = None
        self._unsent_head = b""
        self._left = 0
        self._in_chunks = False  # what is sent next is a chunk, and only that

    # The connection's side.

    @property
    def committed(self) -> bool:
        """Part of the response has left: another answer cannot be given any more."""
        return self.started and not self._unsent_head

    def body_came(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > self._most_unread:
            self._wire.pause_reading()
        self._stir()

    def body_ended(self) -> None:
        self._arrived = True
        self._stir()

    def disconnect(self) -> None:
        self.disconnected = True
        self._stir()
        if self._on_disconnect is not None:
            self._on_disconnect()

    async def answer(self, app: Application, running: set[asyncio.Task[None]]) -> None:
        """Run the application, in a task that is in `running` until it ends; its exceptions end here."""
        self.scope["extensions"] = {ON_DISCONNECT: self._tell_disconnect, WRITE_NOW: self.write_now}
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self._wire.break_off(self)
            raise
        except AnswerBroken as broken:
            # Foreseen, and most often the provider's doing: the operator needs a line, not a place in our code.
            if not self.disconnected:
                _log.warning("an answer was cut", extra={"why": str(broken)})
                self._fail()
        except Exception:  # noqa: BLE001  the outermost edge: whatever it was, this client gets an answer
            # Not the client's doing where it is gone: what was raised may just say so.
            if not self.disconnected:
                _log.exception("the application failed")
                self._fail()
        else:
            if not self.complete and not self.disconnected:
                _log.error("the application returned before its response was complete")
                self._fail()
        finally:
            del self.scope["extensions"]  # it holds us, and we hold the scope
            task = asyncio.current_task()
            if task is not None:  # (it never is; a done callback would cost a turn of the loop)
                running.discard(task)

    def _fail(self) -> None:
        # While the head is still here the client can be told; after that only a broken framing tells the truth.
        if not self.committed:
            self._wire.write(FAILED.answer())
        self._wire.break_off(self)

    def _stir(self) -> None:
        if self._news is not None:
            self._news.set()

    # The application's side.

    def _tell_disconnect(self, callback: Callable[[], None] | None) -> None:
        self._on_disconnect = callback
        if self.disconnected and callback is not None:
            callback()

    async def receive(self) -> Message:
        if self._awaits_continue:
            self._awaits_continue = False
            if not (self.disconnected or self.started or self._arrived):
                self._wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.disconnected or self.complete):
            if self._chunks or (self._arrived and not self._taken):
                return self._take_body()
            self._wire.resume_reading()
            if self._news is None:
                self._news = asyncio.Event()
            self._news.clear()
            await self._news.wait()
        return {"type": "http.disconnect"}

    def _take_body(self) -> Message:
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._buffered = 0
        self._taken = self._arrived
        if not self._arrived:
            self._wire.resume_reading()
        return {"type": "http.request", "body": body, "more_body": not self._arrived}

    async def send(self, message: Message) -> None:
        outlet = self._wire.outlet
        if outlet.paused and not self.disconnected:
            await outlet.writable()
        if self.disconnected:
            raise ClientGone
        kind = message["type"]
        if kind == "http.response.body":
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "http.response.start":
            self._start(message)
        else:
            raise RuntimeError(f"{kind!r} is not a message of an HTTP response")

    def write_now(self, data: bytes) -> bool:
        """Sends a piece of the body, of which more follows; it is not empty. False: not now."""
        if self._wire.outlet.paused or self.disconnected:
            return False
        if self._in_chunks:
            self._wire.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._send_body(data, more=True)
        return True

    def _start(self, message: Message) -> None:
        if self.started:
            raise RuntimeError("the response has already started")
        head = reply_head(
            message["status"],
            message.get("headers", ()),
            self._wire.default_headers,
            method=self.scope["method"],
            http_1_1=self.scope["http_version"] == "1.1",
            # An unread rest of the request would have to be read and thrown away first.
            keep_alive=self.keep_alive and self._arrived and not self._wire.last_request,
        )
        self.started = True
        self.keep_alive = head.keep_alive
        self._head = head
        self._unsent_head = head.data
        self._left = head.length

    def _send_body(self, body: bytes, *, more: bool) -> None:
        head = self._head
        if head is None:
            raise RuntimeError("the body of a response that has not started")
        if self.complete:
            raise RuntimeError("the response is already complete")
        if head.chunked:
            if body:
                data = b"%b%x\r\n%b\r\n%b" % (self._unsent_head, len(body), body, b"" if more else b"0\r\n\r\n")
            else:
                data = self._unsent_head if more else self._unsent_head + b"0\r\n\r\n"
        elif head.bodiless:
            data = self._unsent_head
        else:
            if head.length >= 0:
                self._left -= len(body)
                if self._left < 0 or (self._left and not more):
                    raise RuntimeError("the body of the response does not have the length that its head says")
            data = self._unsent_head + body if self._unsent_head else body
        self._unsent_head = b""
        self._in_chunks = head.chunked and more
        if data:
            self._wire.write(data)
        if not more:
            self.complete = True
            self._stir()
            self._wire.answered(self)

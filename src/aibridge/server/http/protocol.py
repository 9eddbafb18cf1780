"""The connection class that uvicorn runs: HTTP/1.1 with the deadlines, limits and refusals of this server.

One request is answered at a time; pipelined ones wait in order. Whatever the client owes us has a deadline, and a
connection has one timer for all of them.
"""

import asyncio
from collections import deque
from math import inf
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from aibridge.server.http import refusals
from aibridge.server.http.alarm import Alarm
from aibridge.server.http.asgi import Application, Headers, RequestLine, http_scope
from aibridge.server.http.exchange import Exchange
from aibridge.server.http.limits import Limits
from aibridge.server.http.outlet import Outlet
from aibridge.server.http.patience import Patience, Phase
from aibridge.server.http.population import Population
from aibridge.server.http.refusals import Refusal
from aibridge.server.http.request_reader import RequestReader
from aibridge.server.http.sockets import endpoints

# uvloop's timers and clock count whole milliseconds: a deadline within this much has passed.
_CLOCK_STEP = 0.002
# Seconds in which what an idle client had sent before a drain comes out of the kernel's buffer, on a busy machine too.
_ON_ITS_WAY = 0.05
# Connections above the cap that are told so properly (after their first bytes, and lingering); the others at once.
_TOLD_PROPERLY = 256


def http_protocol(limits: Limits, population: Population) -> type[asyncio.Protocol]:
    """The protocol class for uvicorn's `Config(http=...)`, bound to its limits and to those that it counts among."""

    def connection(
        *,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG001  uvicorn passes it; there is no lifespan state here
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> HttpConnection:
        loop = _loop or asyncio.get_running_loop()
        return HttpConnection(config.loaded_app, server_state, limits, population, loop)

    # uvicorn types it as a class, and only ever calls it.
    return cast("type[asyncio.Protocol]", connection)


class HttpConnection(asyncio.Protocol):
    """One client connection. (The base class is asyncio's; a transport asks for it.)"""

    __slots__ = (
        "_alarm",
        "_app",
        "_deaf",
        "_endpoints",
        "_exchange",
        "_limits",
        "_loop",
        "_over_cap",
        "_patience",
        "_population",
        "_read_paused",
        "_reader",
        "_refusal",
        "_state",
        "_transport",
        "_waiting",
        "last_request",
        "outlet",
        "write",
    )

    def __init__(
        self,
        app: Application,
        state: ServerState,
        limits: Limits,
        population: Population,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._app = app
        self._state = state
        self._limits = limits
        self._population = population
        self._loop = loop
        self._reader = RequestReader(limits, self._begin)
        self._alarm = Alarm(loop, self._ring)
        self._patience = Patience(limits.deadlines)
        self._exchange: Exchange | None = None  # the one being answered
        self._waiting: deque[Exchange] | None = None  # pipelined behind it
        self._refusal: Refusal | None = None  # to be given when those are answered
        self._read_paused = False
        self._deaf = False  # what comes in is not read any more
        self._over_cap = False
        self.last_request = population.draining

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.write = self._transport.write
        self.outlet = Outlet(self._transport, self._limits.deadlines.unread)
        descriptor, self._endpoints = endpoints(transport)
        excess = self._population.enter(self, descriptor) - self._limits.connections
        self._deaf = self._over_cap = excess > 0
        if excess > _TOLD_PROPERLY:
            self.write(refusals.TOO_MANY_CONNECTIONS.answer())
            self._close()
        else:
            self._patience.first(self._loop.time(), over_cap=self._over_cap)
            self._alarm.by(self._patience.due)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            self._overhear()
            return
        refusal = self._reader.feed(data)
        if refusal is not None:
            self._refuse(refusal)
        else:
            self._settle()

    def eof_received(self) -> None:
        # A client that closes its half is taken for gone, as nearly all are: the transport closes on return.
        self._release()
        self._watch_unsent()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  how it ended changes nothing
        self._population.leave(self)
        self._alarm.stop()
        self._release()
        self._reader.close()
        self._exchange = None

    def pause_writing(self) -> None:
        self.outlet.pause(self._loop.time())
        self._alarm.by(self.outlet.due)

    def resume_writing(self) -> None:
        self.outlet.resume(closing=self._patience.phase == "leaving")

    # What the server calls (population.Member).

    def shutdown(self) -> None:
        self.last_request = True
        if self._patience.phase == "idle":
            # A request may be in the kernel's buffer already: closing on it would be a reset instead of its answer.
            self._patience.due = min(self._patience.due, self._loop.time() + _ON_ITS_WAY)
            self._alarm.by(self._patience.due)

    def abort(self) -> None:
        self._release()
        self._transport.abort()

    # What the reader calls.

    def _begin(
        self, line: RequestLine, headers: Headers, keep_alive: bool, awaits_continue: bool
    ) -> Exchange | Refusal:
        exchange = Exchange(
            self,
            http_scope(line, headers, self._endpoints),
            keep_alive=keep_alive,
            awaits_continue=awaits_continue,
            most_unread=self._limits.unread_body,
        )
        if self._exchange is None:
            self._run(exchange)
            return exchange
        if self._waiting is None:
            self._waiting = deque()
        if len(self._waiting) >= self._limits.pipelined:
            return refusals.PIPELINED_TOO_DEEP
        self._waiting.append(exchange)
        self.pause_reading()
        return exchange

    # What an exchange calls (exchange.Wire).

    @property
    def default_headers(self) -> Headers:
        return self._state.default_headers

    def pause_reading(self) -> None:
        if not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        # While pipelined requests wait, what follows them can wait too.
        if self._read_paused and not self._waiting:
            self._read_paused = False
            self._transport.resume_reading()
            self._settle()

    def answered(self, exchange: Exchange) -> None:
        self._state.total_requests += 1
        if exchange is not self._exchange:
            return
        self._exchange = None
        if self.last_request or not exchange.keep_alive:
            self._leave()
        elif self._waiting:
            self._run(self._waiting.popleft())
            self.resume_reading()
        elif self._refusal is not None:
            self._refuse(self._refusal)
        else:
            self.resume_reading()
            self._settle()

    def break_off(self, exchange: Exchange) -> None:
        if exchange is self._exchange:
            self._exchange = None
            exchange.disconnect()
            self._leave()

    def _run(self, exchange: Exchange) -> None:
        self._exchange = exchange
        exchanges = self._population.exchanges
        exchanges.add(self._loop.create_task(exchange.answer(self._app, exchanges)))

    # Deadlines.

    def _settle(self) -> None:
        """Find the phase again, and start its deadline when it is a new one."""
        phase: Phase
        if self._read_paused:
            phase = "nothing"
        elif self._reader.in_head:
            phase = "head"
        elif self._reader.arriving is not None:
            phase = "body"
        else:
            phase = "idle" if self._exchange is None else "nothing"
        patience = self._patience
        if phase == patience.phase or self._deaf:
            return
        self._reader.body_bytes = 0
        patience.enter(phase, self._loop.time())
        self._alarm.by(patience.due)

    def _ring(self) -> None:
        now = self._loop.time() + _CLOCK_STEP
        if now >= self.outlet.due and self.outlet.expired(now):
            self.abort()
            return
        if now >= self._patience.due:
            self._overdue(now)
        due = min(self._patience.due, self.outlet.due)
        if due < inf:
            self._alarm.by(due)

    def _overdue(self, now: float) -> None:
        patience = self._patience
        if patience.phase == "body" and patience.enough_body(self._reader.body_bytes, now):
            self._reader.body_bytes = 0
            return
        patience.due = inf
        if patience.phase == "body":
            self._refuse(refusals.BODY_TIMEOUT)
        elif patience.phase == "head":
            self._refuse(refusals.HEAD_TIMEOUT)
        elif patience.phase == "idle":
            if self._over_cap:
                self.write(refusals.TOO_MANY_CONNECTIONS.answer())
            self._close()
        else:
            self.abort()

    def _watch_unsent(self) -> None:
        self.outlet.watch(self._loop.time())
        self._alarm.by(self.outlet.due)

    # Endings.

    def _refuse(self, refusal: Refusal) -> None:
        """Answer by ourselves, in turn, and let the connection end."""
        self._deaf = True
        arriving = self._reader.arriving
        current = self._exchange
        if current is not None and current is not arriving:
            # Earlier requests are whole and get their answers first; the broken one never ran.
            if self._waiting and arriving is self._waiting[-1]:
                self._waiting.pop()
            self._refusal = refusal
            self._patience.enter("nothing", self._loop.time())
            return
        if current is not None:
            self._exchange = None
            current.disconnect()
            if current.committed:
                self.abort()
                return
        self.write(refusal.answer())
        self._linger()

    def _leave(self) -> None:
        if self._reader.arriving is not None:
            self._linger()
        else:
            self._close()

    def _linger(self) -> None:
        """Say that we are done, and throw away what the client still sends.

        Closing at once would make the kernel answer the unread bytes with a reset, and the reset can overtake our
        answer (RFC 9112 section 9.6).
        """
        if not self._transport.can_write_eof():
            self._close()
            return
        self._deaf = True
        self._transport.write_eof()
        self._patience.linger(self._loop.time())
        self._alarm.by(self._patience.due)
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()

    def _overhear(self) -> None:
        if self._over_cap:
            self._over_cap = False
            self._refuse(refusals.TOO_MANY_CONNECTIONS)
        else:
            self._patience.still_talking(self._loop.time())

    def _close(self) -> None:
        self._deaf = True
        self._patience.enter("leaving", self._loop.time())
        self._release()
        self._transport.close()
        self._watch_unsent()  # the transport waits until it is taken

    def _release(self) -> None:
        """Tell whoever is being answered that nobody listens any more."""
        if self._exchange is not None:
            self._exchange.disconnect()
        for exchange in self._waiting or ():
            exchange.disconnect()
        self._waiting = None
        self.outlet.release()

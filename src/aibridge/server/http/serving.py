"""Run an ASGI application: started, draining, ended. Signals are taken by `serve` only, so that tests need none.

While draining the listening sockets stay open as long as earlier requests run, so that `/readyz` and new requests get
their 503 from the application instead of a refused connection.
"""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeAlias

import uvicorn

from aibridge.server.http.asgi import Application
from aibridge.server.http.limits import Limits
from aibridge.server.http.listeners import Listeners
from aibridge.server.http.population import Population
from aibridge.server.http.protocol import http_protocol
from aibridge.server.http.sockets import BACKLOG, descriptor_limit

Ending: TypeAlias = Literal[
    "drained",  # everything that ran had its end
    "cut",  # the drain time was over; the application was told, and had its grace
    "forced",  # a second signal
]

_TICK = 0.1  # as uvicorn's own main loop: it renews the Date header
_LAST_ANSWERS = 1.0  # for requests that came while draining: their 503 takes milliseconds
_FLUSH = 5.0  # for the last bytes to slow readers, and for cancelled exchanges to end


def _nothing() -> None:
    """The hook of a server that has nothing to tell."""


class HttpServer:
    """One server in the running loop, on sockets that already listen. `run` once."""

    def __init__(
        self,
        app: Application,
        *,
        sockets: list[socket.socket],
        limits: Limits | None = None,
        drain_timeout: float = 300.0,
        grace: float = 5.0,
        on_draining: Callable[[], None] = _nothing,
        on_deadline: Callable[[], None] = _nothing,
        date_header: bool = True,
    ) -> None:
        """`on_draining` is called when the drain begins, `on_deadline` when its time is over and exchanges still run:
        the application then has `grace` seconds to end them in its own words, before they are cancelled.
        """
        self.port: int = sockets[0].getsockname()[1]
        self.started = asyncio.Event()
        self._drain_timeout = drain_timeout
        self._grace = grace
        self._on_draining = on_draining
        self._on_deadline = on_deadline
        self._draining = asyncio.Event()
        self._forced = asyncio.Event()
        most = descriptor_limit()
        # Connections in the last eighth of the table are a sign; every one of them may need another descriptor.
        self._population = Population(watermark=most - most // 8, scarce=self._descriptors_run_out)
        self._uvicorn = uvicorn.Server(_config(app, limits or Limits(), self._population, date_header=date_header))
        self._listeners = Listeners(self._uvicorn, sockets)

    def begin_drain(self) -> None:
        """Finish what runs, take nothing else, end. Idempotent."""
        if not self._draining.is_set():
            self._draining.set()
            self._on_draining()
            self._population.drain()

    def end_now(self) -> None:
        """Cut the drain short."""
        self.begin_drain()
        self._forced.set()

    @property
    def is_draining(self) -> bool:
        return self._draining.is_set()

    async def run(self) -> Ending:
        """Serve until `begin_drain` is called and the drain is over; nothing is open afterwards."""
        try:
            config = self._uvicorn.config
            config.load()
            self._uvicorn.lifespan = config.lifespan_class(config)
            await self._listeners.open()
            async with asyncio.TaskGroup() as group:
                ticking = group.create_task(self._tick())
                self.started.set()
                await self._draining.wait()
                ending = await self._drain()
                ticking.cancel()
            return ending
        finally:
            self._listeners.close()
            self._population.abort()

    async def _tick(self) -> None:
        count = 0
        while True:
            await self._uvicorn.on_tick(count)
            await self._listeners.tick()
            count += 1
            await asyncio.sleep(_TICK)

    def _descriptors_run_out(self) -> None:
        self._listeners.pause_if_scarce()

    async def _drain(self) -> Ending:
        exchanges = self._population.exchanges
        running = set(exchanges)
        ending: Ending = "drained"
        if not await self._ended(running, self._drain_timeout) and not self._forced.is_set():
            ending = "cut"
            self._on_deadline()
            await self._ended(running, self._grace)
        self._listeners.close()
        await self._ended(exchanges - running, _LAST_ANSWERS)
        for task in exchanges:
            task.cancel()
        await self._unless_forced(self._population.emptied(), _FLUSH)
        self._population.abort()
        if exchanges:
            await asyncio.wait(set(exchanges), timeout=_LAST_ANSWERS)
        return "forced" if self._forced.is_set() else ending

    async def _ended(self, tasks: set[asyncio.Task[None]], seconds: float) -> bool:
        """True when all tasks ended in time."""
        return not tasks or await self._unless_forced(asyncio.wait(tasks), seconds)

    async def _unless_forced(self, waiting: Coroutine[Any, Any, object], seconds: float) -> bool:
        """True when `waiting` ended in time; a forced end cuts it short."""
        waited = asyncio.create_task(waiting)
        forced = asyncio.create_task(self._forced.wait())
        try:
            await asyncio.wait({waited, forced}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return waited.done()
        finally:
            waited.cancel()
            forced.cancel()


def _config(app: Application, limits: Limits, population: Population, *, date_header: bool) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=http_protocol(limits, population),
        ws="none",
        interface="asgi3",
        lifespan="off",  # an application that we serve is an `async with` of whoever starts us
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=date_header,
        backlog=BACKLOG,
    )


@asynccontextmanager
async def running(server: HttpServer) -> AsyncIterator[HttpServer]:
    """Serve inside a block; leaving it drains."""
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run())
        await server.started.wait()
        try:
            yield server
        finally:
            server.begin_drain()


async def serve(server: HttpServer, *, until: Awaitable[None] | None = None, supervised: bool = False) -> Ending:
    """Serve until SIGTERM or SIGINT, or until `until` returns; a second signal ends at once.

    `supervised`: the supervisor says with SIGINT that it shall be at once. A second SIGTERM then means nothing new:
    systemd sends one to every process of a service, and the supervisor passes its own on.
    """
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if server.is_draining:
            server.end_now()
        else:
            server.begin_drain()

    async def drain_after(end: Awaitable[None]) -> None:
        await end
        server.begin_drain()

    loop.add_signal_handler(signal.SIGTERM, server.begin_drain if supervised else on_signal)
    loop.add_signal_handler(signal.SIGINT, server.end_now if supervised else on_signal)
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(drain_after(until)) if until is not None else None
            ending = await server.run()
            if watching is not None:
                watching.cancel()
        return ending
    finally:
        # A worker takes them while records are flushed, too: the supervisor kills who takes too long.
        if not supervised:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)

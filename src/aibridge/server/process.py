"""One serving process, from open sockets to the last record. Several may share a database; each writes under its own boot."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aibridge import __version__
from aibridge.bridge import RequestBridge
from aibridge.clock import SystemClock, new_id
from aibridge.credentials import Secret
from aibridge.providers import Provider
from aibridge.recorders.rows import Limits
from aibridge.recorders.sqlite import Content
from aibridge.routes import PREFIXES
from aibridge.server.app import FrontDoor
from aibridge.server.auth.authenticator import KeyAuthenticator
from aibridge.server.auth.bad_tokens import BadTokens
from aibridge.server.config import Configuration
from aibridge.server.health import health, readiness
from aibridge.server.http import limits
from aibridge.server.http.asgi import Application
from aibridge.server.http.serving import HttpServer, serve
from aibridge.server.server_secret import derived_key
from aibridge.server.store import Store, open_store

_PER_INTERCEPTION = 16 * 1024 * 1024  # bytes of content

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What was read and checked before anything was opened."""

    configuration: Configuration
    providers: tuple[Provider, ...]
    secret: Secret


@dataclass(frozen=True, slots=True)
class Gateway:
    """The composed application of one process."""

    app: Application
    bridge: RequestBridge
    store: Store


async def serve_process(plan: Plan, sockets: list[socket.socket], on_started: Callable[[], None]) -> int:
    """Serves until a signal, and drains. Returns the exit status. Raises: Wrong."""
    settings = plan.configuration.settings.server
    async with composed(plan) as gateway:
        server = HttpServer(
            gateway.app,
            sockets=sockets,
            limits=limits.Limits(connections=settings.max_connections),
            drain_timeout=settings.drain_timeout,
            on_draining=gateway.bridge.start_draining,
            on_deadline=gateway.bridge.abort,
        )
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(_once_started(server, on_started))
            ending = await serve(server)
            starting.cancel()
        _log.info("stopped", extra={"ending": ending})
        return 1 if not gateway.store.healthy else 0


@asynccontextmanager
async def composed(plan: Plan) -> AsyncIterator[Gateway]:
    """Opens the store and puts the application together; leaving the block ends what runs and keeps its records.

    Raises:
        DatabaseUnusable
    """
    configuration, clock = plan.configuration, SystemClock()
    server, recording = configuration.settings.server, configuration.settings.recording
    async with open_store(
        configuration.database,
        hash_key=derived_key(plan.secret, "token hashes"),
        clock=clock,
        ids=new_id,
        fail=recording.fail,
        limits=Limits(each=recording.max_bytes, per_interception=max(recording.max_bytes, _PER_INTERCEPTION)),
        content=Content(
            prompts=recording.prompts, tool_arguments=recording.tool_arguments, thoughts=recording.thoughts
        ),
    ) as store:
        bridge = RequestBridge(
            providers=plan.providers,
            recorder=store.recorder,
            authenticator=KeyAuthenticator(store.people, BadTokens(), clock),
            conversations=store.conversations,
            clock=clock,
            ids=new_id,
            attribution_key=derived_key(plan.secret, "attribution hashes"),
            prefixes=PREFIXES,
            max_body=server.max_body,
            max_concurrency=server.max_concurrency,
            on_disconnect=server.on_disconnect,
            fail=recording.fail,
        )
        own = {
            b"/healthz": health(__version__),
            b"/readyz": readiness(lambda: None if store.healthy else "the database takes no records"),
        }
        async with bridge:
            yield Gateway(FrontDoor(bridge=bridge, api=bridge, own=own), bridge, store)


async def _once_started(server: HttpServer, on_started: Callable[[], None]) -> None:
    await server.started.wait()
    on_started()
    # What exists now lives as long as the process: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()

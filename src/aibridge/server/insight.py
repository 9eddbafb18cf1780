"""What the configuration wants to see of requests besides their records: metrics, traces, and dumps of what providers
said.

Nothing is imported for what is switched off.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aibridge.clock import new_id
from aibridge.ports import Upstream
from aibridge.server.auth import own_keys
from aibridge.server.config import Configuration
from aibridge.server.known_secrets import KnownSecrets

if TYPE_CHECKING:
    from aibridge.metrics import Metrics
    from aibridge.server.reloading import Counted
    from aibridge.server.store import Store
    from aibridge.tracing import Tracing

_log = logging.getLogger(__name__)


def metrics(configuration: Configuration) -> Metrics | None:
    """None: nothing is counted, since nobody could ask for it."""
    settings = configuration.settings.metrics
    if settings.port is None:
        return None
    from prometheus_client import disable_created_metrics  # noqa: PLC0415  only when it is switched on

    from aibridge.metrics import Metrics  # noqa: PLC0415  as above

    # A series more for each counter, which several workers could not sum.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
    return Metrics(include_initiator=settings.include_initiator)


@asynccontextmanager
async def metered(metrics: Metrics | None, store: Store, scraped: list[socket.socket]) -> AsyncIterator[None]:
    """Inside the block the store is sampled, and what was counted is served on `scraped`."""
    if metrics is None:
        yield
        return
    from aibridge.server.metrics_page import serving_metrics  # noqa: PLC0415  as above
    from aibridge.server.store_series import StoreSeries  # noqa: PLC0415  as above

    series, registry = StoreSeries(metrics.registry, metrics.prefix), metrics.registry
    async with serving_metrics(scraped, lambda: registry), series.following(store):
        yield


def counted_reloads(metrics: Metrics | None) -> Counted | None:
    """Who counts readings of the configuration."""
    if metrics is None:
        return None
    from aibridge.server.reload_series import ReloadSeries  # noqa: PLC0415  only when it is switched on

    return ReloadSeries(metrics.registry, metrics.prefix)


@asynccontextmanager
async def tracing(configuration: Configuration) -> AsyncIterator[Tracing | None]:
    """None: traces are off. Leaving the block sends the last spans."""
    settings = configuration.settings.tracing
    if not settings.enabled:
        yield None
        return
    from aibridge.tracing.otlp import otlp_tracing  # noqa: PLC0415  only when it is switched on

    async with otlp_tracing(propagate=settings.propagate) as traced:
        yield traced


def dumped(upstream: Upstream, configuration: Configuration, secrets: KnownSecrets) -> Upstream:
    """The way out whose exchanges are dumped, if that is wanted; else as it is."""
    settings = configuration.settings.dumps
    if not settings.folder:
        return upstream
    from aibridge.dumps import DumpingUpstream, Folder  # noqa: PLC0415  only when it is switched on

    def scrub(data: bytes, *own: str) -> bytes:
        return own_keys.cut(secrets.scrub(data, *own))

    path = configuration.base / settings.folder
    folder = Folder(path, scrub=scrub, max_bytes=settings.max_bytes, max_exchanges=settings.max_exchanges)
    _log.warning("debug dumps are on: prompts and answers are written to files", extra={"folder": str(path)})
    return DumpingUpstream(upstream, folder, ids=new_id)

"""How the store fares, as metrics: what waits for the disk, what was written, and what was not kept.

Sampled once a second and not when a scraper asks: with several workers whoever renders is another process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge

from aibridge.recorders.sqlite import NotRecorded
from aibridge.server.store import Store

_INTERVAL = 1.0  # seconds; scrapers come every 10 or 15


class StoreSeries:
    """Raises: ValueError when the registry has one of the names already."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self._spool = Gauge(
            f"{prefix}spool_bytes",
            "Bytes of records that wait for the disk.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._oldest = Gauge(
            f"{prefix}spool_age_seconds",
            "How long the oldest record at the disk has been waiting.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._healthy = Gauge(
            f"{prefix}store_healthy",
            "1 while records become durable, else 0.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._commits = Counter(f"{prefix}store_commits_total", "Transactions on disk.", registry=registry)
        self._rows = Counter(f"{prefix}store_rows_total", "Records on disk.", registry=registry)
        self._left_out = Counter(
            f"{prefix}records_left_out_total",
            "Records that requests went on without, by what became of them.",
            ("why",),
            registry=registry,
        )
        self._recovered = Counter(
            f"{prefix}recovered_interceptions_total",
            "Interceptions of processes that died, ended at a start.",
            registry=registry,
        )
        self._seen: dict[str, int] = {}

    @asynccontextmanager
    async def following(self, store: Store) -> AsyncIterator[None]:
        """Samples inside the block, and at its end."""
        self._recovered.inc(store.recovered)
        self.sample(store)
        sampling = asyncio.create_task(self._sample_again(store))
        try:
            yield
        finally:
            sampling.cancel()
            await asyncio.wait([sampling])
            self.sample(store)

    async def _sample_again(self, store: Store) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            self.sample(store)

    def sample(self, store: Store) -> None:
        now = store.statistics()
        self._spool.set(now.held)
        self._oldest.set(now.oldest)
        self._healthy.set(store.healthy)
        self._move(self._commits, "commits", now.commits)
        self._move(self._rows, "rows", now.rows)
        not_recorded: NotRecorded = store.recorder.not_recorded
        for why, total in {
            "refused": now.refused,
            "lost": now.lost,
            "no_room": now.content_given_up + not_recorded.content,
            "interception_not_kept": not_recorded.interceptions,
            "end_not_kept": not_recorded.ends,
            "usage_not_kept": not_recorded.usages,
        }.items():
            self._move(self._left_out.labels(why), why, total)

    def _move(self, counter: Counter, what: str, total: int) -> None:
        counter.inc(total - self._seen.get(what, 0))
        self._seen[what] = total

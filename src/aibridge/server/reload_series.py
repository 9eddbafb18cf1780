"""How readings of the configuration went, as metrics of each process."""

from __future__ import annotations

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge


class ReloadSeries:
    """Raises: ValueError when the registry has one of the names already."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self._loads = Counter(
            f"{prefix}configuration_loads_total",
            "Readings of the configuration, the one at the start included; one that failed changed nothing.",
            ("result",),
            registry=registry,
        )
        self._at = Gauge(
            f"{prefix}configuration_loaded_timestamp_seconds",
            "When the configuration that holds was read; with several workers, that of the one that is furthest behind.",
            registry=registry,
            multiprocess_mode="livemin",
        )
        for result in ("ok", "failed"):
            self._loads.labels(result)

    def reloaded(self, *, ok: bool, at: datetime) -> None:
        self._loads.labels("ok" if ok else "failed").inc()
        if ok:
            self._at.set(at.timestamp())

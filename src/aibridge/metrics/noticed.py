"""The series of what is noticed of providers: circuits, keys, retries. They tell of this process and of now."""

from __future__ import annotations

from typing import assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge

from aibridge.metrics.names import Names
from aibridge.notices import (
    CircuitChanged,
    CircuitRefused,
    FailedOver,
    FellBack,
    KeyChanged,
    Notice,
    PoolExhausted,
    Retried,
)

_CIRCUIT = {"closed": 0.0, "half_open": 0.5, "open": 1.0}
_KEY = {"usable": 1.0, "cooling": 0.5, "refused": 0.0}


class Noticed:
    """Registers its series. Raises: ValueError when the registry has one of the names already."""

    def __init__(self, registry: CollectorRegistry, prefix: str, models: Names) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(prefix + name, text, labels, registry=registry)

        def gauge(name: str, text: str, labels: tuple[str, ...], mode: str) -> Gauge:
            return Gauge(prefix + name, text, labels, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]  # its Literal is private

        of_circuit = ("provider", "endpoint", "model")
        self._models = models
        self._circuit = gauge(
            "circuit_breaker_state", "0 closed, 0.5 half-open, 1 open; the worst of all workers.", of_circuit, "livemax"
        )
        self._trips = counter("circuit_breaker_trips_total", "Circuits that opened.", *of_circuit)
        self._rejects = counter(
            "circuit_breaker_rejects_total", "Requests that were not sent, since the circuit was open.", *of_circuit
        )
        self._key = gauge(
            "key_pool_key_state",
            "1 usable, 0.5 cooling for some model, 0 refused, as last seen; the worst of all workers.",
            ("provider", "key"),
            "livemin",
        )
        self._failovers = counter(
            "key_pool_failovers_total", "Requests that went out again with the next key.", "provider", "reason"
        )
        self._exhaustions = counter(
            "key_pool_exhaustions_total", "Requests that no key was left for.", "provider", "reason"
        )
        self._retries = counter(
            "upstream_retries_total", "Requests that went out again after a wait.", "provider", "reason"
        )
        self._fallbacks = counter("provider_fallbacks_total", "Requests that went on to another one.", "provider", "to")

    def note(self, notice: Notice) -> None:
        match notice:
            case CircuitChanged():
                labels = (notice.provider_name, notice.endpoint, self._models.label(notice.model))
                self._circuit.labels(*labels).set(_CIRCUIT[notice.state])
                if notice.state == "open":
                    self._trips.labels(*labels).inc()
            case CircuitRefused():
                self._rejects.labels(notice.provider_name, notice.endpoint, self._models.label(notice.model)).inc()
            case KeyChanged():
                self._key.labels(notice.provider_name, notice.place).set(_KEY[notice.state])
            case FailedOver():
                self._failovers.labels(notice.provider_name, notice.reason).inc()
            case PoolExhausted():
                self._exhaustions.labels(notice.provider_name, notice.reason).inc()
            case Retried():
                self._retries.labels(notice.provider_name, notice.reason).inc()
            case FellBack():
                self._fallbacks.labels(notice.provider_name, notice.to).inc()
            case _:
                assert_never(notice)

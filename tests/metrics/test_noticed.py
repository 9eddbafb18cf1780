"""What is noticed of providers moves its series."""

from prometheus_client import CollectorRegistry

from aibridge.metrics import Metrics
from aibridge.notices import (
    CircuitChanged,
    CircuitRefused,
    FailedOver,
    FellBack,
    KeyChanged,
    PoolExhausted,
    Retried,
)

CIRCUIT = {"provider": "anthropic", "endpoint": "/v1/messages", "model": "claude-opus-4-6"}


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"aibridge_{name}", labels)


def test_a_circuit_is_shown_and_its_trips_and_refusals_are_counted() -> None:
    metrics = Metrics()
    circuit = {"provider_name": "anthropic", "endpoint": "/v1/messages", "model": "claude-opus-4-6"}
    assert value(metrics.registry, "circuit_breaker_state", **CIRCUIT) is None
    shown = []
    for state in ("open", "half_open", "open", "half_open", "closed"):
        metrics.noticed(CircuitChanged(**circuit, state=state))
        shown.append(value(metrics.registry, "circuit_breaker_state", **CIRCUIT))
    metrics.noticed(CircuitRefused(**circuit))

    assert shown == [1, 0.5, 1, 0.5, 0]
    assert value(metrics.registry, "circuit_breaker_trips_total", **CIRCUIT) == 2
    assert value(metrics.registry, "circuit_breaker_rejects_total", **CIRCUIT) == 1


def test_keys_failovers_exhaustions_and_retries_are_shown() -> None:
    metrics = Metrics()
    shown = []
    for state in ("cooling", "refused", "usable"):
        metrics.noticed(KeyChanged(provider_name="openai", place=2, state=state))
        shown.append(value(metrics.registry, "key_pool_key_state", provider="openai", key="2"))
    metrics.noticed(FailedOver(provider_name="openai", reason="rate_limited"))
    metrics.noticed(PoolExhausted(provider_name="openai", reason="refused"))
    metrics.noticed(Retried(provider_name="openai", reason="503"))
    metrics.noticed(FellBack(provider_name="openai", to="spare"))

    assert shown == [0.5, 0, 1]
    of = metrics.registry
    assert value(of, "key_pool_failovers_total", provider="openai", reason="rate_limited") == 1
    assert value(of, "key_pool_exhaustions_total", provider="openai", reason="refused") == 1
    assert value(of, "upstream_retries_total", provider="openai", reason="503") == 1
    assert value(of, "provider_fallbacks_total", provider="openai", to="spare") == 1


def test_models_that_clients_invent_share_a_series() -> None:
    metrics = Metrics(names=3)
    for number in range(10):
        metrics.noticed(CircuitRefused(provider_name="a", endpoint="/v1/messages", model=f"model-{number}"))

    labels = {"provider": "a", "endpoint": "/v1/messages"}
    assert value(metrics.registry, "circuit_breaker_rejects_total", **labels, model="other") == 7

"""What this process knows of its providers, in the shape that the API answers. Keys are shown by their masks only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from aibridge.asking import ProviderStates
from aibridge.providers import Provider
from aibridge.server.api.shapes import Circuit, Configuration, CoolingModel, ProviderKey, Providers, ProviderStatus

if TYPE_CHECKING:
    from aibridge.server.reloading import ReloadStatus


def providers_shown(
    providers: Sequence[Provider],
    states: ProviderStates,
    *,
    process: int | None,
    everything: bool,
    configuration: ReloadStatus | None = None,
) -> Providers:
    """`everything`: also addresses, keys, circuits and the configuration, which are for those who run the gateway."""
    results = [_shown(provider, states, everything=everything) for provider in providers]
    if configuration is None or not everything:
        return Providers(process, results)
    now = configuration
    return Providers(process, results, Configuration(now.loaded_at, now.fault, now.failed_at, list(now.needs_restart)))


def _shown(provider: Provider, states: ProviderStates, *, everything: bool) -> ProviderStatus:
    state = states.of(provider.name)
    if state is None:  # nothing is remembered of it
        keys = [ProviderKey(key.hint, "usable", None, []) for key in provider.keys]
        circuits: list[Circuit] = []
    else:
        status = state.status()
        keys = [
            ProviderKey(
                key.hint,
                key.state,
                round(key.seconds, 1) or None,
                [CoolingModel(model, round(seconds, 1)) for model, seconds in key.cooling],
            )
            for key in status.keys
        ]
        circuits = [Circuit(circuit.endpoint, circuit.model, how) for circuit, how in status.circuits]
    return ProviderStatus(
        name=provider.name,
        type=provider.type,
        platform=None if provider.platform is None else provider.platform.name,
        health=_health(provider, keys, circuits),
        allow_byok=provider.allow_byok,
        circuit_breaker=provider.circuit_breaker is not None,
        max_retries=provider.max_retries,
        base_url=provider.base_url if everything else None,
        keys=keys if everything else None,
        circuits=circuits if everything else None,
    )


def _health(
    provider: Provider, keys: Sequence[ProviderKey], circuits: Sequence[Circuit]
) -> Literal["off", "ok", "impaired"]:
    if not provider.enabled:
        return "off"
    return "impaired" if circuits or any(key.state != "usable" for key in keys) else "ok"

"""What is known of providers from the requests before: the rest of their keys, the state of their circuits.

It belongs to a process and outlives the configuration: by the provider's name, and each key by its fingerprint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aibridge.breaker import Circuit, CircuitBreaker, CircuitState
from aibridge.key_pool import Fingerprint, KeyPool, KeyState, fingerprint
from aibridge.notices import CircuitChanged, KeyChanged
from aibridge.ports import Clock, Observer
from aibridge.providers.base import Provider
from aibridge.providers.credential import Credential, central_credential


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Time, chance and who is told, as arguments."""

    clock: Clock
    observer: Observer
    randomness: Callable[[], float]
    pause: Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """A key as it is shown: by its mask. `seconds` is how long the state lasts at most."""

    hint: str
    state: KeyState
    seconds: float
    cooling: tuple[tuple[str | None, float], ...]  # models and their seconds


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """A provider's state in this process, at one moment. `circuits` are those that are not closed."""

    keys: tuple[KeyStatus, ...]
    circuits: tuple[tuple[Circuit, CircuitState], ...]


class ProviderState:
    """One provider's keys and circuits."""

    __slots__ = ("_pool", "_shown", "around", "breaker", "credentials", "fingerprints", "provider")

    def __init__(self, provider: Provider, around: Surroundings) -> None:
        self.around = around
        self._pool = KeyPool()
        self._shown: dict[Fingerprint, KeyState] = {}  # what the observer was told last
        self.breaker: CircuitBreaker | None = None
        self.adopt(provider)

    def adopt(self, provider: Provider) -> None:
        """The provider as it is configured from now on."""
        self.provider = provider
        self.fingerprints: tuple[Fingerprint, ...] = tuple(map(fingerprint, provider.keys))
        self.credentials: tuple[Credential, ...] = tuple(central_credential(provider, key) for key in provider.keys)
        self._pool.keep(self.fingerprints)
        settings = provider.circuit_breaker
        if settings is None:
            if self.breaker is not None:
                self.breaker.close_all()
            self.breaker = None
        elif self.breaker is None:
            self.breaker = CircuitBreaker(settings, self._circuit_changed)
        else:
            self.breaker.settings = settings

    @property
    def pooled(self) -> bool:
        """There is more than one key; a single one never rests."""
        return len(self.fingerprints) > 1

    def key_for(self, model: str | None) -> int | None:
        """The place of the key that serves; None: all of them rest."""
        return self._pool.first_usable(self.fingerprints, model, self.around.clock.monotonic())

    def soonest(self, model: str | None) -> float | None:
        """See `KeyPool.soonest`."""
        return self._pool.soonest(self.fingerprints, model, self.around.clock.monotonic())

    def cool(self, place: int, model: str | None, seconds: float | None) -> None:
        self._pool.cool(self.fingerprints[place], model, seconds, self.around.clock.monotonic())
        self._tell(place)

    def refuse(self, place: int) -> None:
        self._pool.refuse(self.fingerprints[place], self.around.clock.monotonic())
        self._tell(place)

    def serve(self, place: int, model: str | None) -> None:
        self._pool.serve(self.fingerprints[place], model)
        self._tell(place)

    def status(self) -> ProviderStatus:
        now = self.around.clock.monotonic()
        keys = []
        for key, credential in zip(self.fingerprints, self.credentials, strict=True):
            state, seconds = self._pool.state(key, now)
            keys.append(KeyStatus(credential.hint, state, seconds, tuple(self._pool.cooling(key, now).items())))
        return ProviderStatus(tuple(keys), tuple(self.breaker.circuits(now)) if self.breaker is not None else ())

    def _tell(self, place: int) -> None:
        """The observer learns of changes only: a key that serves well costs nothing."""
        key = self.fingerprints[place]
        state, _ = self._pool.state(key, self.around.clock.monotonic())
        if self._shown.get(key, "usable") != state:
            self._shown[key] = state
            self.around.observer.noticed(KeyChanged(provider_name=self.provider.name, place=place + 1, state=state))

    def _circuit_changed(self, circuit: Circuit, state: CircuitState) -> None:
        self.around.observer.noticed(
            CircuitChanged(
                provider_name=self.provider.name, endpoint=circuit.endpoint, model=circuit.model, state=state
            )
        )


class ProviderStates:
    """The states of all providers. Made once; a host that makes a new bridge hands the old one's on."""

    __slots__ = ("_states",)

    def __init__(self) -> None:
        self._states: dict[str, ProviderState] = {}

    def adopt(self, providers: Sequence[Provider], around: Surroundings) -> None:
        """From now on these are the providers; what is known of others is forgotten."""
        known, self._states = self._states, {}
        for provider in providers:
            if provider.plain:
                continue
            if provider.name not in known:
                self._states[provider.name] = ProviderState(provider, around)
                continue
            state = self._states[provider.name] = known[provider.name]
            state.around = around
            state.adopt(provider)
        for name, state in known.items():
            if name not in self._states and state.breaker is not None:
                state.breaker.close_all()

    def of(self, provider_name: str) -> ProviderState | None:
        """None: one key, no retries and no breaker, so there is nothing to know."""
        return self._states.get(provider_name)

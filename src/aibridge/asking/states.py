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


class Keys:
    """A provider as it was configured at one moment, with its keys. A request keeps to one, whatever is changed meanwhile:
    a key that was given for one address is sent to no other.
    """

    __slots__ = ("credentials", "fingerprints", "provider")

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.fingerprints: tuple[Fingerprint, ...] = tuple(map(fingerprint, provider.keys))
        self.credentials: tuple[Credential, ...] = tuple(central_credential(provider, key) for key in provider.keys)

    @property
    def pooled(self) -> bool:
        """There is more than one key; a single one never rests."""
        return len(self.fingerprints) > 1


class ProviderState:
    """One provider's keys and circuits."""

    __slots__ = ("_keys", "_pool", "_shown", "around", "breaker")

    def __init__(self, provider: Provider, around: Surroundings) -> None:
        self.around = around
        self._pool = KeyPool()
        self._shown: dict[int, KeyState] = {}  # by place: what the observer was told last
        self.breaker: CircuitBreaker | None = None
        self.adopt(provider)

    def adopt(self, provider: Provider) -> None:
        """The provider as it is configured from now on."""
        self._keys = Keys(provider)
        self._pool.keep(self._keys.fingerprints)
        for key in self._keys.fingerprints:
            self._tell(key)
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
    def name(self) -> str:
        return self._keys.provider.name

    def keys_of(self, provider: Provider) -> Keys:
        """The keys of a provider of this name: as it is now, or as it was when a running request came."""
        return self._keys if self._keys.provider is provider else Keys(provider)

    def key_for(self, keys: Keys, model: str | None) -> int | None:
        """The place of the key that serves; None: all of them rest."""
        return self._pool.first_usable(keys.fingerprints, model, self.around.clock.monotonic())

    def soonest(self, keys: Keys, model: str | None) -> float | None:
        """See `KeyPool.soonest`."""
        return self._pool.soonest(keys.fingerprints, model, self.around.clock.monotonic())

    def cool(self, key: Fingerprint, model: str | None, seconds: float | None) -> None:
        self._pool.cool(key, model, seconds, self.around.clock.monotonic())
        self._tell(key)

    def refuse(self, key: Fingerprint) -> None:
        self._pool.refuse(key, self.around.clock.monotonic())
        self._tell(key)

    def serve(self, key: Fingerprint, model: str | None) -> None:
        self._pool.serve(key, model)
        self._tell(key)

    def status(self) -> ProviderStatus:
        now = self.around.clock.monotonic()
        keys = []
        for key, credential in zip(self._keys.fingerprints, self._keys.credentials, strict=True):
            state, seconds = self._pool.state(key, now)
            keys.append(KeyStatus(credential.hint, state, seconds, tuple(self._pool.cooling(key, now).items())))
        return ProviderStatus(tuple(keys), tuple(self.breaker.circuits(now)) if self.breaker is not None else ())

    def _tell(self, key: Fingerprint) -> None:
        """The observer learns of changes only: a key that serves well costs nothing."""
        if key not in self._keys.fingerprints:  # it was the provider's when the request came
            return
        state, _ = self._pool.state(key, self.around.clock.monotonic())
        place = self._keys.fingerprints.index(key) + 1
        if self._shown.get(place, "usable") != state:
            self._shown[place] = state
            self.around.observer.noticed(KeyChanged(provider_name=self.name, place=place, state=state))

    def _circuit_changed(self, circuit: Circuit, state: CircuitState) -> None:
        self.around.observer.noticed(
            CircuitChanged(provider_name=self.name, endpoint=circuit.endpoint, model=circuit.model, state=state)
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

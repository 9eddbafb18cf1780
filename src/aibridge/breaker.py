"""The circuit breaker of one provider: a circuit for each endpoint and model, so that one model's trouble is its own.

Closed, requests pass; enough failures in a row open it. Open, they are refused until a time has passed. Half-open, a
few probes pass: when all are good it is closed again, at the first bad one open.

The rule: time is an argument, and only a failure makes a circuit, so that names that clients invent cost nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

CircuitState = Literal["closed", "half_open", "open"]
MOST_CIRCUITS = 200
"""Circuits that a breaker remembers. More models in trouble at once than any provider has; the oldest is forgotten."""
_SETTLE = 1.0  # seconds after which somebody who met a half-open circuit may ask again: probes are mostly quick


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When circuits open and close. Durations are in seconds. Raises: ValueError."""

    failure_threshold: int = 5
    """Failures in a row that open a circuit."""
    interval: float = 10.0
    """A row of failures longer than this begins anew; 0: it may take any time."""
    timeout: float = 30.0
    """How long a circuit stays open, and how long a probe holds its place while nothing is known of it."""
    max_requests: int = 3
    """Probes of a half-open circuit; that many good ones close it."""

    def __post_init__(self) -> None:
        if self.failure_threshold < 1 or self.max_requests < 1:
            raise ValueError("circuit_breaker: failure_threshold and max_requests are at least 1")
        if not (self.interval >= 0 and self.timeout > 0 and math.isfinite(self.interval + self.timeout)):
            raise ValueError("circuit_breaker: interval is a number of seconds, timeout one above 0")


@dataclass(frozen=True, slots=True)
class Circuit:
    """What a circuit is for. `endpoint` is the route's template."""

    endpoint: str
    model: str


@dataclass(frozen=True, slots=True)
class Permit:
    """A request may go out on `circuit`. What came of it is told to the breaker once, or never."""

    circuit: Circuit
    age: int  # of the circuit, in changes of its state: an outcome from before a change says nothing
    since: float


@dataclass(frozen=True, slots=True)
class Tripped:
    """No request may go out now; after `retry_after` seconds it is worth another try."""

    retry_after: float


@dataclass(slots=True)
class _Trouble:
    """A circuit that is not known to be well."""

    state: CircuitState = "closed"
    age: int = 0
    since: float = 0.0  # the first failure of the row, or when it opened
    failures: int = 0
    successes: int = 0
    probes: list[float] = field(default_factory=list)  # when each went out that nothing is known of yet


Changed = Callable[[Circuit, CircuitState], None]


class CircuitBreaker:
    """The circuits of one provider. `changed` is told of every change of a circuit's state.

    `settings` may be exchanged; the circuits stay.
    """

    __slots__ = ("_age", "_changed", "_most", "_troubles", "settings")

    def __init__(self, settings: BreakerSettings, changed: Changed, *, most: int = MOST_CIRCUITS) -> None:
        self.settings = settings
        self._changed = changed
        self._most = most
        self._troubles: dict[Circuit, _Trouble] = {}
        # Goes on over all circuits, so that one that was forgotten and is back is not taken for its former self.
        self._age = 0

    def admit(self, circuit: Circuit, now: float) -> Permit | Tripped:
        """Whether a request may go out."""
        trouble = self._troubles.get(circuit)
        if trouble is None:
            return Permit(circuit, -1, now)
        if trouble.state == "open":
            left = trouble.since + self.settings.timeout - now
            if left > 0:
                return Tripped(left)
            self._enter(circuit, trouble, "half_open", now)
        if trouble.state == "half_open":
            # A long answer must not keep the others waiting: its place is free again after a while.
            oldest = now - self.settings.timeout
            trouble.probes = [began for began in trouble.probes if began > oldest]
            if trouble.successes + len(trouble.probes) >= self.settings.max_requests:
                return Tripped(_SETTLE)
            trouble.probes.append(now)
        return Permit(circuit, trouble.age, now)

    def succeeded(self, permit: Permit, now: float) -> None:
        """The provider gave a whole, good answer."""
        trouble = self._troubles.get(permit.circuit)
        if trouble is None or trouble.state == "open":
            return
        if trouble.state == "half_open":
            if permit.age != trouble.age:
                return
            _take_back(trouble, permit)
            trouble.successes += 1
            if trouble.successes < self.settings.max_requests:
                return
            self._enter(permit.circuit, trouble, "closed", now)
        del self._troubles[permit.circuit]

    def failed(self, permit: Permit, now: float) -> None:
        """The provider is overloaded, silent or not there."""
        circuit, settings = permit.circuit, self.settings
        trouble = self._troubles.get(circuit)
        if trouble is None:
            trouble = self._remembered(circuit)
        elif trouble.state == "open" or (trouble.state == "half_open" and permit.age != trouble.age):
            return
        if trouble.state == "half_open":
            self._enter(circuit, trouble, "open", now)
            return
        if not trouble.failures or (settings.interval and now - trouble.since > settings.interval):
            trouble.failures, trouble.since = 0, now
        trouble.failures += 1
        if trouble.failures >= settings.failure_threshold:
            self._enter(circuit, trouble, "open", now)

    def undecided(self, permit: Permit) -> None:
        """Nothing was learned of the provider: the client left, or the answer says more of the request or its key."""
        trouble = self._troubles.get(permit.circuit)
        if trouble is not None and permit.age == trouble.age:
            _take_back(trouble, permit)

    def state(self, circuit: Circuit, now: float) -> CircuitState:
        """As the next request will find it."""
        trouble = self._troubles.get(circuit)
        if trouble is None:
            return "closed"
        over = trouble.state == "open" and trouble.since + self.settings.timeout <= now
        return "half_open" if over else trouble.state

    def circuits(self, now: float) -> list[tuple[Circuit, CircuitState]]:
        """Those that are not closed."""
        states = [(circuit, self.state(circuit, now)) for circuit in self._troubles]
        return [(circuit, state) for circuit, state in states if state != "closed"]

    def close_all(self) -> None:
        """Forgets every circuit: the breaker is switched off."""
        for circuit in list(self._troubles):
            self._forget(circuit)

    def _enter(self, circuit: Circuit, trouble: _Trouble, state: CircuitState, now: float) -> None:
        self._age += 1
        trouble.state, trouble.age, trouble.since = state, self._age, now
        trouble.failures = trouble.successes = 0
        trouble.probes = []
        self._changed(circuit, state)

    def _remembered(self, circuit: Circuit) -> _Trouble:
        if len(self._troubles) >= self._most:
            self._forget(next(iter(self._troubles)))
        trouble = self._troubles[circuit] = _Trouble()
        return trouble

    def _forget(self, circuit: Circuit) -> None:
        if self._troubles.pop(circuit).state != "closed":
            self._changed(circuit, "closed")


def _take_back(trouble: _Trouble, permit: Permit) -> None:
    if permit.since in trouble.probes:  # else its place was given to another
        trouble.probes.remove(permit.since)

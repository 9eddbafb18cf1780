"""The central keys of one provider: which may be used now. Time is an argument; keys are known by their fingerprints.

The rule: the first usable key serves. A rate limit rests a key for the model that met it, a refusal for all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from aibridge.credentials import Secret

COOLING = 60.0
"""Seconds that a key rests when the provider did not say how long."""
REFUSED = 60.0
"""Seconds after which a key that was refused is tried again: somebody may have mended it at the provider."""
_MOST_MODELS = 200  # models for which a key rests at once; names come from clients
_SHORTEST = 1.0  # seconds; a request must not meet the same key again at once
_LONGEST = 24 * 3600.0  # seconds; a provider that names a year would take the key out for good

Fingerprint = bytes
KeyState = Literal["usable", "cooling", "refused"]


def fingerprint(key: Secret) -> Fingerprint:
    """What a key is known by where its value is not needed."""
    return hashlib.sha256(key.reveal().encode()).digest()[:16]


@dataclass(slots=True)
class _Rest:
    """Until when a key is not to be used."""

    refused: float = 0.0
    cooling: dict[str | None, float] = field(default_factory=dict)  # by model; None: requests without one

    def until(self, model: str | None) -> float:
        return max(self.refused, self.cooling.get(model, 0.0))


class KeyPool:
    """What is known of one provider's keys. Keys that nothing is known of are usable."""

    __slots__ = ("_rests",)

    def __init__(self) -> None:
        self._rests: dict[Fingerprint, _Rest] = {}

    def first_usable(self, keys: Sequence[Fingerprint], model: str | None, now: float) -> int | None:
        """The place of the key that serves a request for `model`; None: all of them rest."""
        for place, key in enumerate(keys):
            rest = self._rests.get(key)
            if rest is None or rest.until(model) <= now:
                return place
        return None

    def cool(self, key: Fingerprint, model: str | None, seconds: float | None, now: float) -> None:
        """The key met a rate limit. `seconds` is how long the provider told to wait, if it did."""
        cooling = self._rests.setdefault(key, _Rest()).cooling
        if model not in cooling and len(cooling) >= _MOST_MODELS:
            del cooling[min(cooling, key=cooling.__getitem__)]
        cooling[model] = now + (COOLING if seconds is None else min(max(seconds, _SHORTEST), _LONGEST))

    def refuse(self, key: Fingerprint, now: float) -> None:
        """The provider does not take the key."""
        self._rests.setdefault(key, _Rest()).refused = now + REFUSED

    def serve(self, key: Fingerprint, model: str | None) -> None:
        """The key served a request for `model`."""
        rest = self._rests.get(key)
        if rest is not None:
            rest.refused = 0.0
            rest.cooling.pop(model, None)
            if not rest.cooling:
                del self._rests[key]

    def soonest(self, keys: Sequence[Fingerprint], model: str | None, now: float) -> float | None:
        """Seconds until a key that met a rate limit is usable again; None: none rests for that, all were refused."""
        rests = [rest for key in keys if (rest := self._rests.get(key)) is not None]
        ends = [rest.until(model) for rest in rests if rest.cooling.get(model, 0.0) > now]
        return max(0.0, min(ends) - now) if ends else None

    def state(self, key: Fingerprint, now: float) -> tuple[KeyState, float]:
        """A key's state, and the seconds that it lasts: cooling is the longest of its models'."""
        rest = self._rests.get(key)
        if rest is None:
            return "usable", 0.0
        if rest.refused > now:
            return "refused", rest.refused - now
        cooling = max(rest.cooling.values(), default=0.0)
        return ("cooling", cooling - now) if cooling > now else ("usable", 0.0)

    def cooling(self, key: Fingerprint, now: float) -> dict[str | None, float]:
        """The models for which a key rests, and for how many seconds."""
        rest = self._rests.get(key)
        return {} if rest is None else {model: until - now for model, until in rest.cooling.items() if until > now}

    def keep(self, keys: Collection[Fingerprint]) -> None:
        """Forgets all other keys: they are no longer the provider's."""
        for key in [key for key in self._rests if key not in keys]:
            del self._rests[key]

"""What the gateway notices of a provider beside its answers: circuits, keys, retries. For those who count and show.

Values come from the configuration but for `model`, which is the client's; no key is named, only its place in the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KeyTrouble = Literal["rate_limited", "refused"]
"""Why a key rests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitChanged:
    """A circuit of the breaker has entered a state."""

    provider_name: str
    endpoint: str
    model: str
    state: Literal["closed", "half_open", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitRefused:
    """A request did not go out, since its circuit is open."""

    provider_name: str
    endpoint: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChanged:
    """A key of a pool rests from now on, or serves again. `place` counts from 1."""

    provider_name: str
    place: int
    state: Literal["usable", "cooling", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedOver:
    """A request goes out again, with the next key."""

    provider_name: str
    reason: KeyTrouble


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolExhausted:
    """A request was not served, since every key rests; `refused` when none of them met a rate limit."""

    provider_name: str
    reason: KeyTrouble


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """A request goes out again after a wait. `reason` is a kind of failure, or the status."""

    provider_name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FellBack:
    """A request goes out to another provider, since its own could not be asked, or failed."""

    provider_name: str
    to: str


Notice = CircuitChanged | CircuitRefused | KeyChanged | FailedOver | PoolExhausted | Retried | FellBack

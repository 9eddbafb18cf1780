"""How many bad tokens came from an address in the last minute. Memory is bounded: the oldest addresses are forgotten."""

from __future__ import annotations

from ipaddress import IPv6Address
from math import ceil

PER_MINUTE = 30
_WINDOW = 60.0  # seconds
_ADDRESSES = 10_000  # about 2 MB; to be forgotten, an attacker needs that many addresses within a minute


class BadTokens:
    """Counts in windows that begin with an address's first bad token. Time is an argument."""

    def __init__(self, limit: int = PER_MINUTE, addresses: int = _ADDRESSES) -> None:
        self._limit = limit
        self._addresses = addresses
        self._counts: dict[str, tuple[float, int]] = {}  # in the order in which the windows began

    def is_first_too_many(self, address: str) -> bool:
        """Whether the one that was counted last from there is the first over the limit in its minute."""
        _, count = self._counts.get(_network_of(address), (0.0, 0))
        return count == self._limit + 1

    def count(self, address: str, now: float) -> int:
        """Notes one; returns 0, or how many seconds the address is over its limit for."""
        address = _network_of(address)
        began, count = self._counts.get(address, (now, 0))
        if now - began >= _WINDOW:
            del self._counts[address]
            began, count = now, 0
        if address not in self._counts and len(self._counts) >= self._addresses:
            del self._counts[next(iter(self._counts))]
        self._counts[address] = (began, count + 1)
        return 0 if count < self._limit else max(1, ceil(began + _WINDOW - now))


def _network_of(address: str) -> str:
    """IPv6 hosts have a /64 to themselves (RFC 6177), so one of its addresses counts for all."""
    if ":" not in address:
        return address
    try:
        packed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = packed.ipv4_mapped
    return str(mapped) if mapped is not None else packed.exploded[:19]

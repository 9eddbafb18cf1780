"""What must not be written anywhere: the secrets of the configuration, and of those before it.

A request that runs still meets the ones it began with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aibridge.credentials import Scrubber


class KnownSecrets:
    """Grows only; `scrub` is always of all."""

    __slots__ = ("_scrubber", "_secrets")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        self._secrets.update(secrets)
        self._scrubber = Scrubber(self._secrets)

    def scrub(self, data: bytes, *own: str) -> bytes:
        """See `Scrubber`."""
        return self._scrubber.scrub(data, *own)

    def __iter__(self) -> Iterator[str]:
        return iter(self._secrets)

    def __repr__(self) -> str:
        return "KnownSecrets(...)"

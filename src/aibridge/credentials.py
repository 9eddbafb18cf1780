"""Keys as values that do not show themselves, and the mask under which records name them."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SHORTEST_SECRET = 8
_REDACTED = b"[redacted]"


class Secret:
    """A credential. `repr`, `str` and formatting hide it; `reveal()` is the only way to the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    @property
    def hint(self) -> str:
        return masked(self._value)

    def __repr__(self) -> str:
        return f"Secret({self.hint!r})"

    def __str__(self) -> str:
        return self.hint

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not pickled")


def masked(value: str) -> str:
    """The hint of a credential: n characters at each end, fewer for short ones, none below five."""
    shown = 4 if len(value) >= 20 else 2 if len(value) >= 10 else 1 if len(value) >= 5 else 0
    return f"{value[:shown]}...{value[-shown:]}" if shown else "..."


class Scrubber:
    """Takes known secrets out of bytes that others wrote, such as a provider's error text."""

    __slots__ = ("_pattern",)

    def __init__(self, secrets: Iterable[str]) -> None:
        # Very short values would be found in ordinary words. The longest first: one key may begin with another.
        values = sorted({s.encode() for s in secrets if len(s) >= _SHORTEST_SECRET}, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, values))) if values else None

    def scrub(self, data: bytes, *own: str) -> bytes:
        """`data` with every secret replaced; `own` are further ones, of this request."""
        if self._pattern is not None:
            data = self._pattern.sub(_REDACTED, data)
        for secret in own:
            if len(secret) >= _SHORTEST_SECRET:
                data = data.replace(secret.encode(), _REDACTED)
        return data

    def __repr__(self) -> str:
        return "Scrubber(...)"

"""Label values that come from clients: a bounded set, then `other`. A scraper must not be made to hold what they invent."""

from __future__ import annotations

OTHER = "other"
_LONGEST = 128  # characters; no provider has a model, and no agent a tool, with a longer name


class Names:
    """The first `most` different names are themselves, every later one is `other`."""

    __slots__ = ("_most", "_seen")

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: set[str] = set()

    def label(self, name: str) -> str:
        if name in self._seen:
            return name
        # An empty value is no label at all to Prometheus; a lone surrogate could not be written as UTF-8.
        if len(self._seen) >= self._most or not name or len(name) > _LONGEST or not name.isprintable():
            return OTHER
        self._seen.add(name)
        return name

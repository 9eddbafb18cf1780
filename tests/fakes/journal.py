"""What happened, in order, as the doors of an interception saw it: the order is what most claims are about."""

from typing import TypeAlias

Entry: TypeAlias = tuple[str, str]


class Journal:
    """Entries of `who` and `what`: ("recorder", "durable record_interception"), ("provider", "asked"), ..."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def note(self, who: str, what: str) -> None:
        self.entries.append((who, what))

    def place(self, who: str, what: str) -> int:
        """Where something stands, which happened once."""
        found = [number for number, entry in enumerate(self.entries) if entry == (who, what)]
        assert len(found) == 1, f"{who} {what}: {len(found)} times in {self.entries}"
        return found[0]

    def of(self, who: str) -> list[str]:
        return [what for found, what in self.entries if found == who]

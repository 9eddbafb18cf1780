"""The door of the stores whose content nobody may read in the database: it is sealed before it is written."""

from __future__ import annotations

from typing import Protocol


class Cipher(Protocol):
    """Keeps content unreadable in the database. `about` is bound to it: what was sealed about one thing opens as no other."""

    def sealed(self, content: bytes, about: bytes) -> bytes:
        """`content`, encrypted and authenticated; another text each time. Usable from any thread."""

    def opened(self, sealed: bytes, about: bytes) -> bytes | None:
        """What was sealed; None when the key or `about` is another one, or somebody changed it."""

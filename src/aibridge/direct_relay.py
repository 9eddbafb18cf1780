"""Relays a stream from the provider's connection to the client's without waking the interception for each event.

Only what needs nobody goes this way: no fact to be kept, no terminal event, a client that takes what it gets. Whatever
does need somebody stops it and is left here, in `data` and `facts`, to go the usual way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aibridge.dialects.base import Fact, Reply


class DirectRelay:
    """`take` is handed what the provider sends, `write` is what takes bytes at once, or says False."""

    __slots__ = ("_reply", "_write", "data", "facts")

    def __init__(self, reply: Reply, write: Callable[[bytes], bool]) -> None:
        self._reply = reply
        self._write = write
        self.data = b""
        self.facts: Sequence[Fact] = ()

    def take(self, chunk: bytes) -> bool:
        """True: relayed. False: `data` and `facts` have what is left to do, and nothing more may be handed on."""
        reply = self._reply
        data = reply.receive(chunk)
        facts = reply.facts()
        if facts or reply.finished or (data and not self._write(data)):
            self.data, self.facts = data, facts
            return False
        return True

    def left(self) -> tuple[bytes, Sequence[Fact]]:
        """What `take` could not deal with, which is forgotten."""
        left = self.data, self.facts
        self.data, self.facts = b"", ()
        return left

"""Relays a stream from the provider's connection to the client's without waking the interception for each event.

Only what needs nobody goes this way: no fact to be kept, no terminal event, a client that takes what it gets. Whatever
does need somebody stops it and is left to go the usual way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aibridge.dialects.base import Fact, Plain, Reply
from aibridge.ports import UpstreamResponse

if TYPE_CHECKING:  # a value that is handed in; siblings do not know each other at run time
    from aibridge.reply_writer import ReplyWriter


class DirectRelay:
    """From one response, through the machine of its turn, to a writer that can write at once."""

    __slots__ = ("_data", "_facts", "_plain", "_reply", "_write", "_write_plain")

    def __init__(self, reply: Reply, writer: ReplyWriter) -> None:
        self._reply = reply
        self._plain: Plain = _nothing
        self._write = writer.write_now
        self._write_plain = writer.at_once
        self._data = b""
        self._facts: Sequence[Fact] = ()

    async def relay(self, response: UpstreamResponse) -> tuple[bytes, Sequence[Fact]]:
        """Returns when it cannot go on: with bytes for the client and facts to keep, or with neither when `response`
        is to be read.
        """
        self._plain = self._reply.plain or _nothing
        await response.hand_to(self.take)
        left = self._data, self._facts
        self._data, self._facts = b"", ()
        return left

    def take(self, chunk: bytes) -> bool:
        """False: there is something left to do, and nothing more may be handed on."""
        # Nearly every event of a long stream goes no further than this: every call more is felt.
        if self._plain(chunk):
            if self._write_plain(chunk) or self._write(chunk):
                return True
            self._data = chunk
            return False
        reply = self._reply
        data = reply.receive(chunk)
        facts = reply.facts()
        if facts or reply.finished or (data and not self._write(data)):
            self._data, self._facts = data, facts
            return False
        self._plain = reply.plain or _nothing
        return True


def _nothing(_chunk: bytes) -> bool:
    return False

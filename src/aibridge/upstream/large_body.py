"""A large body on its way to a provider: it goes out in pieces, each only while nothing has come back.

A provider may refuse a body that it has seen a part of (413, 401, 429), and close. What is then still written fails,
and with it the connection, although the refusal lies there to be read (RFC 9112 sections 9.5 and 9.6). Looking for
that before each piece leaves the time of one write in which both may arrive unseen. Then an answer in plain text can
still be had (`left_behind`); in TLS it cannot, nor where the system drops what it has received with the reset that
follows (Linux does not).
"""

from __future__ import annotations

import asyncio
import os
import select
from contextlib import suppress

PIECE = 256 * 1024
"""Bytes that are written at once: many more than a system call costs, few enough to be written in a moment. A body
of up to two is one piece, and costs nothing more than a small one: most requests of agents are."""
_MOST_LEFT_BEHIND = 256 * 1024  # bytes; a refusal is short
_READ = 64 * 1024


class LargeBody:
    """Writes a body to a transport until it is out, or `stop` says that nobody wants the rest."""

    __slots__ = ("_looks", "_loop", "_paused", "_poll", "_rest", "_transport")

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, body: bytes) -> None:
        self._loop = loop
        self._transport = transport
        self._rest = memoryview(body)
        self._paused = False
        self._looks = True
        self._poll: select.poll | None = None

    @property
    def out(self) -> bool:
        """Nothing of it waits to be written."""
        return not self._rest and not self._transport.get_write_buffer_size()

    def write(self) -> None:
        """Begins, and writes all that the transport takes at once."""
        size = PIECE if len(self._rest) > 2 * PIECE else 2 * PIECE
        piece, self._rest = self._rest[:size], self._rest[size:]
        self._transport.write(piece)
        if self._rest:
            self._go_on()

    def _go_on(self) -> None:
        while self._rest and not self._paused and not self._transport.is_closing():
            if self._looks and self._something_came():
                self._loop.call_soon(self._go_on)  # when it was read
                return
            piece, self._rest = self._rest[:PIECE], self._rest[PIECE:]
            self._transport.write(piece)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if self._rest:
            self._go_on()

    def stop(self) -> None:
        self._rest = self._rest[:0]

    def heard(self, status: int) -> None:
        """The provider's answer begins. A refusal ends the body; below that it is read as it comes, or not yet."""
        if status >= 300:
            self.stop()
        self._looks = False

    def _something_came(self) -> bool:
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(_descriptor(self._transport), select.POLLIN)
        return bool(self._poll.poll(0))


def left_behind(transport: asyncio.Transport) -> bytes:
    """What has come but was not read when a write failed; b"" in TLS. To be asked before the socket is closed."""
    found = bytearray()
    if transport.get_extra_info("sslcontext") is None:
        descriptor = _descriptor(transport)
        with suppress(OSError):  # there is no more
            while len(found) < _MOST_LEFT_BEHIND and (data := os.read(descriptor, _READ)):
                found += data
    return bytes(found)


def _descriptor(transport: asyncio.Transport) -> int:
    descriptor: int = transport.get_extra_info("socket").fileno()
    return descriptor

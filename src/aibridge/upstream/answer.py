"""One answer of a provider, fed by its connection and read by whoever asked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from aibridge.errors import Header, UpstreamFailure, UpstreamReset
from aibridge.wire.content_coding import CODINGS, Decoder, TooLarge, Undecodable

HIGH_WATER = 128 * 1024  # bytes waiting to be read; above it the connection stops reading
_CODED = (b"content-encoding", b"content-length")


class Answer:
    """See `aibridge.ports.UpstreamResponse`."""

    __slots__ = (
        "_chunks",
        "_decode",
        "_decoder",
        "_ended",
        "_error",
        "_loop",
        "_pieces",
        "_resume",
        "_size",
        "_take",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, resume: Callable[[], None], *, decode: bool) -> None:
        self.status = 0
        self.headers: Sequence[Header] = ()
        self._loop = loop
        self._resume = resume  # lets the connection read on
        self._decode = decode
        self._decoder: Decoder | None = None
        self._pieces: Iterator[bytes] | None = None
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: UpstreamFailure | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], bool] | None = None  # what comes goes there

    # -- for the reader --------------------------------------------------------------------------------

    async def head(self) -> None:
        """Returns when status and headers are there. Raises: UpstreamUnreachable, UpstreamStalled."""
        while not self.status:
            if self._error is not None:
                raise self._error
            await self._wait()

    async def read(self) -> bytes:
        while True:
            if self._pieces is not None and (piece := self._next_piece()):
                return piece
            if self._chunks:
                chunk = self._next()
                if self._decoder is None:
                    return chunk
                self._pieces = self._decoder.pieces(chunk)
            elif self._error is not None:
                raise self._error
            elif self._ended:
                if self._decoder is not None and self._decoder.cut:
                    raise UpstreamReset("the provider's answer ended before it was complete")
                return b""
            else:
                await self._wait()

    async def hand_to(self, take: Callable[[bytes], bool]) -> None:
        if self._decoder is None and not (self._chunks or self._ended or self._error is not None):
            self._take = take
            try:
                await self._wait()
            finally:
                self._take = None

    @property
    def at_end(self) -> bool:
        return self._ended and not self._chunks and self._pieces is None

    def _next_piece(self) -> bytes:
        """What the last chunk decodes to, a bounded piece at a time: a little may be a lot. b"": that was all."""
        assert self._pieces is not None
        try:
            piece = next(self._pieces, b"")
        except (Undecodable, TooLarge):
            raise UpstreamReset("the provider's answer cannot be decompressed") from None
        if not piece:
            self._pieces = None
        return piece

    def _next(self) -> bytes:
        """All that has come, in one piece: a reader that is behind catches up with one call."""
        chunk = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        if self._size > HIGH_WATER and not self._ended:  # after its end the connection serves others
            self._resume()
        self._size = 0
        return chunk

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # -- for the connection ----------------------------------------------------------------------------

    def start(self, status: int, headers: list[Header]) -> None:
        self.headers = headers
        if self._decode:
            codings = [value.strip().lower() for name, value in headers if name.lower() == b"content-encoding"]
            coding = b",".join(codings)
            # An unknown coding passes as it is, and nobody can read it.
            if coding and (known := coding.decode("latin-1")) in CODINGS:
                self._decoder = Decoder(known)
                self.headers = [header for header in headers if header[0].lower() not in _CODED]
        self.status = status
        self._wake()

    def feed(self, data: bytes) -> bool:
        """Takes a piece of the body. False: enough is waiting, stop reading."""
        take = self._take
        if take is not None:
            more = False
            try:
                more = take(data)
            finally:
                if not more:
                    self._take = None
                    self._wake()
            return True
        self.keep(data)
        return self._size <= HIGH_WATER

    def keep(self, data: bytes) -> None:
        """Takes a piece of the body, which waits to be read."""
        self._chunks.append(data)
        self._size += len(data)
        self._wake()

    def end(self) -> None:
        self._ended = True
        self._wake()

    def fail(self, error: UpstreamFailure) -> None:
        if not self._ended and self._error is None:
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

"""Content codings (RFC 9110 section 8.4.1): gzip and deflate by zlib, zstd. Output is bounded; a bomb is refused."""

from __future__ import annotations

import sys
import zlib

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODINGS = frozenset({"gzip", "x-gzip", "deflate", "zstd"})
# Text of real prompts shrinks 3 to 10 times; repetitive tool output up to a few hundred.
MAX_RATIO = 1000
_STEP = 256 * 1024  # bytes decoded at a time


class Undecodable(ValueError):
    """The bytes are not what their coding says, or are of an unknown coding."""


class TooLarge(ValueError):
    """The decoded bytes exceed the bound."""


class Decoder:
    """Decodes a body piece by piece. `limit` bounds all that comes out, in bytes; None: no bound."""

    __slots__ = ("_coding", "_left", "_machine", "_tried_raw")

    def __init__(self, coding: str, limit: int | None = None) -> None:
        if coding not in CODINGS:
            raise Undecodable(f"unsupported content coding: {coding[:40]}")
        self._coding = coding
        self._left = limit
        self._tried_raw = False
        self._machine = self._fresh()

    def decode(self, chunk: bytes) -> bytes:
        """The bytes that `chunk` adds. Raises: Undecodable, TooLarge."""
        pieces: list[bytes] = []
        try:
            while chunk:
                if self._machine.eof:  # members and frames may follow one another
                    self._machine = self._fresh()
                pieces += self._steps(chunk)
                chunk = self._machine.unused_data if self._machine.eof else b""
        except (zlib.error, zstd.ZstdError, EOFError) as error:
            raise Undecodable(f"the body is not valid {self._coding}") from error
        return b"".join(pieces)

    @property
    def whole(self) -> bool:
        """The last member or frame has come to its end."""
        return self._machine.eof

    def _steps(self, chunk: bytes) -> list[bytes]:
        pieces: list[bytes] = []
        data = chunk
        while True:
            piece, data, more = self._step(data)
            if self._left is not None:
                self._left -= len(piece)
                if self._left < 0:
                    raise TooLarge("the decoded body is too large")
            pieces.append(piece)
            if not more:
                return pieces

    def _step(self, data: bytes) -> tuple[bytes, bytes, bool]:
        machine = self._machine
        if isinstance(machine, zstd.ZstdDecompressor):
            piece = machine.decompress(data, _STEP)
            return piece, b"", not machine.eof and not machine.needs_input
        try:
            piece = machine.decompress(data, _STEP)
        except zlib.error:
            if self._coding != "deflate" or self._tried_raw:
                raise
            # "deflate" is zlib's format by the RFC, but some servers send raw DEFLATE.
            self._tried_raw = True
            self._machine = machine = zlib.decompressobj(-zlib.MAX_WBITS)
            piece = machine.decompress(data, _STEP)
        return piece, machine.unconsumed_tail, bool(machine.unconsumed_tail) and not machine.eof

    def _fresh(self) -> zlib._Decompress | zstd.ZstdDecompressor:
        if self._coding == "zstd":
            return zstd.ZstdDecompressor()
        return zlib.decompressobj(zlib.MAX_WBITS | (0 if self._coding == "deflate" else 16))


def decoded_body(coding: str, body: bytes, limit: int) -> bytes:
    """A whole request body, decoded. Raises: Undecodable, TooLarge (beyond `limit` bytes or MAX_RATIO times)."""
    decoder = Decoder(coding, min(limit, max(len(body), 1024) * MAX_RATIO))
    decoded = decoder.decode(body)
    if not decoder.whole:
        raise Undecodable(f"the {coding} body is cut short")
    return decoded

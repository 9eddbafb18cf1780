"""Content codings (RFC 9110 section 8.4.1): gzip and deflate by zlib, zstd. Output is bounded; a bomb is refused."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from typing import TypeAlias

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODINGS = frozenset({"gzip", "x-gzip", "deflate", "zstd"})
# Text of real prompts shrinks 3 to 10 times; repetitive tool output up to a few hundred.
MAX_RATIO = 1000
_STEP = 256 * 1024  # bytes decoded at a time
_WINDOW_LOG = 25  # 32 MiB, as large as a body may be: what a frame's head asks for is allocated

_Machine: TypeAlias = "zlib._Decompress | zstd.ZstdDecompressor"  # noqa: SLF001  zlib has no public name for it


class Undecodable(ValueError):
    """The bytes are not what their coding says, or are of an unknown coding."""


class TooLarge(ValueError):
    """The decoded bytes exceed the bound."""


class Decoder:
    """Decodes a body piece by piece. `limit` bounds all that comes out, in bytes; None: no bound."""

    __slots__ = ("_coding", "_first", "_left", "_machine")

    def __init__(self, coding: str, limit: int | None = None) -> None:
        if coding not in CODINGS:
            raise Undecodable(f"unsupported content coding: {coding[:40]}")
        self._coding = coding
        self._left = limit
        self._first = b""  # of a deflate body, until there is enough to know its format
        self._machine: _Machine | None = None

    def decode(self, chunk: bytes) -> bytes:
        """The bytes that `chunk` adds. Raises: Undecodable, TooLarge."""
        return b"".join(self.pieces(chunk))

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """The same in pieces of a bounded size; the next chunk waits until all were taken."""
        if self._machine is None and self._coding == "deflate":
            chunk = self._first = self._first + chunk
            if len(chunk) < 2:
                return
        try:
            while chunk:
                if self._machine is None or self._machine.eof:  # members and frames may follow one another
                    self._machine = self._fresh(chunk)
                yield from self._steps(self._machine, chunk)
                chunk = self._machine.unused_data if self._machine.eof else b""
        except (zlib.error, zstd.ZstdError, EOFError) as error:
            raise Undecodable(f"the body is not valid {self._coding}") from error

    @property
    def whole(self) -> bool:
        """The last member or frame has come to its end."""
        return self._machine is not None and self._machine.eof

    @property
    def cut(self) -> bool:
        """Something has come, and not its end."""
        return bool(self._first) if self._machine is None else not self._machine.eof

    def _steps(self, machine: _Machine, data: bytes) -> Iterator[bytes]:
        more = True
        while more:
            piece = machine.decompress(data, _STEP)
            if isinstance(machine, zstd.ZstdDecompressor):
                data, more = b"", not machine.eof and not machine.needs_input
            else:
                data = machine.unconsumed_tail
                # A full piece may have filled up before the machine was empty.
                more = not machine.eof and (bool(data) or len(piece) == _STEP)
            if self._left is not None:
                self._left -= len(piece)
                if self._left < 0:
                    raise TooLarge("the decoded body is too large")
            if piece:
                yield piece

    def _fresh(self, data: bytes) -> _Machine:
        if self._coding == "zstd":
            return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
        if self._coding == "deflate":
            # "deflate" is zlib's format by the RFC, but some servers send raw DEFLATE. RFC 1950 section 2.2 tells them.
            is_zlib = data[0] & 0x0F == 8 and data[0] >> 4 <= 7 and int.from_bytes(data[:2], "big") % 31 == 0
            return zlib.decompressobj(zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)
        return zlib.decompressobj(zlib.MAX_WBITS | 16)


def decoded_body(coding: str, body: bytes, limit: int) -> bytes:
    """A whole request body, decoded. Raises: Undecodable (also beyond MAX_RATIO), TooLarge (beyond `limit` bytes)."""
    most = max(len(body), 1024) * MAX_RATIO
    decoder = Decoder(coding, min(limit, most))
    try:
        decoded = decoder.decode(body)
    except TooLarge:
        if most < limit:
            raise Undecodable(f"the {coding} body decodes to more than {MAX_RATIO} times its size") from None
        raise
    if not decoder.whole:
        raise Undecodable(f"the {coding} body is cut short")
    return decoded

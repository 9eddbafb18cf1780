"""An answer whose type does not say what it is: its first bytes do. They are looked at, and stay to be read.

FastAPI's `StreamingResponse` has no type unless it is given one; and servers that do not stream what they are asked to
stream answer with one body, some of them without a type too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from aibridge.errors import Header
from aibridge.ports import UpstreamResponse

_BOM = b"\xef\xbb\xbf"
# How a stream of events begins, but for empty lines (https://html.spec.whatwg.org/multipage/server-sent-events.html).
_EVENT = re.compile(rb"(?:data|event|id|retry)?:")
_LONGEST = len(b"event:")
_MOST_BLANKS = 64 * 1024  # bytes; servers write blanks so that nobody takes them for dead


class BegunResponse:
    """See `aibridge.ports.UpstreamResponse`. `begun` was read already and is read again, `over` says that it was all."""

    __slots__ = ("_begun", "_over", "_response")

    def __init__(self, response: UpstreamResponse, begun: bytes, *, over: bool) -> None:
        self._response = response
        self._begun = begun
        self._over = over

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Sequence[Header]:
        return self._response.headers

    @property
    def at_end(self) -> bool:
        return not self._begun and (self._over or self._response.at_end)

    async def read(self) -> bytes:
        begun, self._begun = self._begun, b""
        return begun if begun or self._over else await self._response.read()

    async def hand_to(self, take: Callable[[bytes], bool]) -> None:
        if not (self._begun or self._over):
            await self._response.hand_to(take)


async def looked_at(response: UpstreamResponse, *, asked: bool) -> tuple[UpstreamResponse, bool]:
    """The response, and whether it is a stream of events. `asked`: one was asked for, which decides where bytes do not.

    Raises: UpstreamReset, UpstreamStalled.
    """
    begun = b""
    while len(begun) <= _MOST_BLANKS and (chunk := await response.read()):
        begun += chunk
        stream = _is_stream(begun, asked=asked)
        if stream is not None:
            return BegunResponse(response, begun, over=False), stream
    return BegunResponse(response, begun, over=len(begun) <= _MOST_BLANKS), asked


def _is_stream(begun: bytes, *, asked: bool) -> bool | None:
    """None: too little has come."""
    if _BOM.startswith(begun):
        return None
    start = begun.removeprefix(_BOM).lstrip()
    if not start:
        return None
    if start[:1] in (b"{", b"["):  # JSON; no event begins so
        return False
    if asked or _EVENT.match(start):
        return True
    return False if len(start) >= _LONGEST else None

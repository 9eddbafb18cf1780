"""An answer of a provider of which somebody sees every piece, as dumps and traces do.

Nothing passes by `read`: pieces that could be handed on at once go the way of all others, so that each is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aibridge.errors import Header
from aibridge.ports import UpstreamResponse


class WatchedResponse:
    """See `aibridge.ports.UpstreamResponse`. `saw` is told what each read brought, also b"" at the end."""

    __slots__ = ("_response", "_saw")

    def __init__(self, response: UpstreamResponse, saw: Callable[[bytes], None]) -> None:
        self._response = response
        self._saw = saw

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Sequence[Header]:
        return self._response.headers

    @property
    def at_end(self) -> bool:
        return self._response.at_end

    async def read(self) -> bytes:
        data = await self._response.read()
        self._saw(data)
        return data

    async def hand_to(self, take: Callable[[bytes], bool]) -> None:
        """Returns at once, as it always may."""

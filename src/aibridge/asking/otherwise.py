"""A first way to an answer and, where it fails before the answer's first byte, a second one. Which is tried once.

What the second one says is the answer, also where that is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from aibridge.errors import KeysExhausted, Refused, UpstreamUnreachable
from aibridge.ports import OpenUpstream, UpstreamResponse

_FAILED = 500  # from this status on: what a provider answers for reasons of its own, 529 (overloaded) among them
_OPEN_CIRCUIT = 503


class Otherwise:
    """See `aibridge.ports.OpenUpstream`. `second` is called when it is needed."""

    __slots__ = ("_opening", "_second")

    def __init__(self, first: OpenUpstream, second: Callable[[], OpenUpstream]) -> None:
        self._opening = first
        self._second = second

    async def __aenter__(self) -> UpstreamResponse:
        """Raises: what entering the second one does; of the first, what another provider cannot help."""
        try:
            response = await self._opening.__aenter__()
        except (UpstreamUnreachable, KeysExhausted):
            pass
        except Refused as refused:
            if refused.problem.status != _OPEN_CIRCUIT:
                raise
        else:
            if response.status < _FAILED:
                return response
            await self._opening.__aexit__(None, None, None)
        self._opening = self._second()
        return await self._opening.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._opening.__aexit__(kind, error, traceback)

"""Something that is fetched in a thread and ends: one fetch serves all who wait, and while the old holds nobody waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Renewal(Generic[T]):
    """Keeps what `fetch` returned last. `failed` is told of each fetch that raised. Belongs to one event loop.

    A waiter that is cancelled takes nobody's fetch with it: the thread runs on, and its result is kept.
    """

    __slots__ = ("_failed", "_fetch", "_fetching", "value")

    def __init__(self, fetch: Callable[[], T], failed: Callable[[BaseException], None]) -> None:
        self.value: T | None = None
        self._fetch = fetch
        self._failed = failed
        self._fetching: asyncio.Future[T] | None = None

    async def current(self, *, due: bool, ended: bool) -> T:
        """The value. `due`: it is time for a new one; `ended`: the old one cannot be used any more.

        Raises: what `fetch` does, where it must be waited for.
        """
        value = self.value
        if value is not None and not due:
            return value
        fetching = self._fetching
        if fetching is None:
            fetching = self._fetching = asyncio.get_running_loop().run_in_executor(None, self._fetch)
            fetching.add_done_callback(self._fetched)
        if value is not None and not ended:
            return value
        return await asyncio.shield(fetching)

    def _fetched(self, fetching: asyncio.Future[T]) -> None:
        self._fetching = None
        if fetching.cancelled():
            return
        error = fetching.exception()
        if error is None:
            self.value = fetching.result()
        else:
            self._failed(error)

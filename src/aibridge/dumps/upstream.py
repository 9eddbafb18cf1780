"""A way out whose exchanges are dumped. The relay only keeps references to bytes that it has anyway."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from aibridge.dumps.exchange import Exchange
from aibridge.dumps.folder import Folder
from aibridge.ports import Ids, OpenUpstream, Upstream, UpstreamRequest, UpstreamResponse, UpstreamTimeouts
from aibridge.watched_response import WatchedResponse


class DumpingUpstream:
    """See `aibridge.ports.Upstream`. `ids` name the exchanges of no interception; closing it closes `folder`."""

    def __init__(
        self, upstream: Upstream, folder: Folder, *, ids: Ids, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._upstream = upstream
        self._folder = folder
        self._ids = ids
        self._monotonic = monotonic

    def open(self, request: UpstreamRequest, timeouts: UpstreamTimeouts, *, decode: bool = True) -> OpenUpstream:
        opening = self._upstream.open(request, timeouts, decode=decode)
        purpose = request.purpose
        provider, model = ("other", None) if purpose is None else (purpose.provider_name, purpose.model)
        name = (None if purpose is None else purpose.interception_id) or self._ids()
        if not self._folder.hold(len(request.body)):
            self._folder.give_up()
            return opening
        exchange = Exchange(
            name, (provider, model or "passthrough"), request, self._folder.max_bytes, held=len(request.body)
        )
        return _Opening(opening, exchange, self._folder, self._monotonic)

    async def close(self) -> None:
        await self._upstream.close()
        await self._folder.close()


class _Opening:
    """See `aibridge.ports.OpenUpstream`."""

    def __init__(
        self, opening: OpenUpstream, exchange: Exchange, folder: Folder, monotonic: Callable[[], float]
    ) -> None:
        self._opening = opening
        self._exchange = exchange
        self._folder = folder
        self._monotonic = monotonic
        self._began = monotonic()
        self._response: WatchedResponse | None = None
        self._given_up = False

    async def __aenter__(self) -> UpstreamResponse:
        try:
            response = await self._opening.__aenter__()
        except BaseException as error:
            self._over(type(error).__name__)
            raise
        self._exchange.status, self._exchange.headers = response.status, response.headers
        self._response = WatchedResponse(response, self._saw)
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._over(type(error).__name__)
        else:
            whole = self._response is not None and self._response.at_end
            self._over("complete" if whole else "left before its end")
        await self._opening.__aexit__(kind, error, traceback)

    def _saw(self, data: bytes) -> None:
        if data and not self._given_up:
            wanted = self._exchange.wants(data)
            if wanted and not self._folder.hold(wanted):
                self._given_up = True
            else:
                self._exchange.keep(data)

    def _over(self, ending: str) -> None:
        exchange = self._exchange
        exchange.ending, exchange.seconds = ending, self._monotonic() - self._began
        if self._given_up:
            self._folder.let_go(exchange.held)
            self._folder.give_up()
        else:
            self._folder.put(exchange)

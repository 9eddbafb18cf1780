"""A way out whose exchanges are dumped. The relay only keeps references to bytes that it has anyway."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType

from aibridge.dumps.exchange import Exchange
from aibridge.dumps.folder import Folder
from aibridge.errors import Header
from aibridge.ports import Ids, OpenUpstream, Upstream, UpstreamRequest, UpstreamResponse, UpstreamTimeouts


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
        self._response: _Response | None = None

    async def __aenter__(self) -> UpstreamResponse:
        try:
            response = await self._opening.__aenter__()
        except BaseException as error:
            self._over(type(error).__name__)
            raise
        self._exchange.status, self._exchange.headers = response.status, response.headers
        self._response = _Response(response, self._exchange, self._folder)
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

    def _over(self, ending: str) -> None:
        exchange = self._exchange
        exchange.ending, exchange.seconds = ending, self._monotonic() - self._began
        if self._response is not None and self._response.given_up:
            self._folder.let_go(exchange.held)
            self._folder.give_up()
        else:
            self._folder.put(exchange)


class _Response:
    """See `aibridge.ports.UpstreamResponse`."""

    __slots__ = ("_exchange", "_folder", "_response", "given_up")

    def __init__(self, response: UpstreamResponse, exchange: Exchange, folder: Folder) -> None:
        self._response = response
        self._exchange = exchange
        self._folder = folder
        self.given_up = False

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Sequence[Header]:
        return self._response.headers

    async def hand_to(self, take: Callable[[bytes], bool]) -> None:
        """Nothing passes by `read`, where it is watched."""

    @property
    def at_end(self) -> bool:
        return self._response.at_end

    async def read(self) -> bytes:
        data = await self._response.read()
        if data and not self.given_up:
            wanted = self._exchange.wants(data)
            if wanted and not self._folder.hold(wanted):
                self.given_up = True
            else:
                self._exchange.keep(data)
        return data

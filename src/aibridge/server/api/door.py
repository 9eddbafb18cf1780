"""Loads the API when it is first asked for: most processes relay only, and need neither its memory nor its start."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from aibridge.bridge import RequestBridge
from aibridge.database.files import DatabaseFile
from aibridge.ports import Clock
from aibridge.server.auth.authenticator import GatewayAuthenticator
from aibridge.server.http.asgi import Application, Receive, Scope, Send

if TYPE_CHECKING:
    from aibridge.server.api.shapes import Providers
    from aibridge.server.configured_logins import PagesOfLogins
    from aibridge.server.live_toolbox import LiveToolbox
    from aibridge.server.reading import Reading
    from aibridge.server.reloading import Standing


class ApiDoor:
    """An application in place of the API; `aclose` it."""

    def __init__(
        self,
        file: DatabaseFile,
        authenticator: GatewayAuthenticator,
        clock: Clock,
        bridge: RequestBridge,
        standing: Standing,
        tools: LiveToolbox,
        pages: Callable[[], PagesOfLogins | None],
    ) -> None:
        self._tools = tools
        self._pages = pages
        self._loaded_pages: PagesOfLogins | None = None
        self._reading: Reading | None = None
        self._file = file
        self._authenticator = authenticator
        self._clock = clock
        self._bridge = bridge
        self._standing = standing
        self._loading: asyncio.Future[Application] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._loading is None or (self._loading.done() and self._is_outdated(self._loading)):
            self._loaded_pages = self._pages()
            self._loading = asyncio.ensure_future(asyncio.to_thread(self._load, self._loaded_pages))
        app = await asyncio.shield(self._loading)
        await app(scope, receive, send)

    async def aclose(self) -> None:
        if self._loading is not None:
            await asyncio.wait([self._loading])
        if self._reading is not None:
            await asyncio.to_thread(self._reading.close)

    def _is_outdated(self, loaded: asyncio.Future[Application]) -> bool:
        """It could not be loaded, or the first server where people log in was configured since."""
        return loaded.exception() is not None or (self._loaded_pages is None and self._pages() is not None)

    def _load(self, pages: PagesOfLogins | None) -> Application:
        from aibridge.server.api.app import management_app  # noqa: PLC0415  see above
        from aibridge.server.api.providers import providers_shown  # noqa: PLC0415  see above
        from aibridge.server.reading import Reading  # noqa: PLC0415  see above
        from aibridge.server.web.logins import login_routes  # noqa: PLC0415  as above

        reading = self._reading = self._reading or Reading(self._file, self._clock)
        bridge = self._bridge

        def shown(*, everything: bool) -> Providers:
            told = partial(providers_shown, bridge.providers, bridge.states, process=os.getpid())
            return told(everything=everything, configuration=self._standing.status)

        more = () if pages is None else login_routes(pages, self._authenticator, self._clock)
        return management_app(reading, self._authenticator, self._clock, shown, lambda: self._tools.toolbox, more)

"""Loads the API when it is first asked for: most processes relay only, and need neither its memory nor its start."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from aibridge.asking import ProviderStates
from aibridge.database.files import DatabaseFile
from aibridge.ports import Clock
from aibridge.providers import Provider
from aibridge.server.auth.authenticator import KeyAuthenticator
from aibridge.server.http.asgi import Application, Receive, Scope, Send

if TYPE_CHECKING:
    from aibridge.mcp import McpToolbox
    from aibridge.server.configured_logins import PagesOfLogins


class ApiDoor:
    """An application in place of the API; `aclose` it."""

    def __init__(
        self,
        file: DatabaseFile,
        authenticator: KeyAuthenticator,
        clock: Clock,
        providers: Sequence[Provider],
        states: ProviderStates,
        toolbox: McpToolbox | None = None,
        pages: PagesOfLogins | None = None,
    ) -> None:
        self._toolbox = toolbox
        self._pages = pages
        self._file = file
        self._authenticator = authenticator
        self._clock = clock
        self._providers = providers
        self._states = states
        self._loading: asyncio.Future[Application] | None = None
        self._close: Callable[[], None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._loading is None or (self._loading.done() and self._loading.exception() is not None):
            self._loading = asyncio.ensure_future(asyncio.to_thread(self._load))
        app = await asyncio.shield(self._loading)
        await app(scope, receive, send)

    async def aclose(self) -> None:
        if self._loading is not None:
            await asyncio.wait([self._loading])
        if self._close is not None:
            await asyncio.to_thread(self._close)

    def _load(self) -> Application:
        from aibridge.server.api.app import management_app  # noqa: PLC0415  see above
        from aibridge.server.api.providers import providers_shown  # noqa: PLC0415  see above
        from aibridge.server.reading import Reading  # noqa: PLC0415  see above
        from aibridge.server.web.logins import login_routes  # noqa: PLC0415  as above

        reading = Reading(self._file, self._clock)
        self._close = reading.close
        shown = partial(providers_shown, self._providers, self._states, process=os.getpid())
        more = () if self._pages is None else login_routes(self._pages, self._authenticator, self._clock)
        return management_app(reading, self._authenticator, self._clock, shown, self._toolbox, more)

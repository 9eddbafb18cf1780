"""The API as a Starlette application: signed in with a key or a token, read-only, JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aibridge.actor import Actor
from aibridge.ports import Clock
from aibridge.server.api import problems, shapes
from aibridge.server.api.asked import asked
from aibridge.server.api.openapi import document
from aibridge.server.api.readers import Reader, reader_of
from aibridge.server.auth.authenticator import GatewayAuthenticator
from aibridge.server.reading import Reading

if TYPE_CHECKING:
    from aibridge.mcp import McpToolbox

MOUNTS = ("/api/v2/aibridge", "/api/v2/ai-gateway")


class ProvidersShown(Protocol):
    """What is known of the providers at this moment."""

    def __call__(self, *, everything: bool) -> shapes.Providers: ...


_log = logging.getLogger(__name__)


def management_app(
    reading: Reading,
    authenticator: GatewayAuthenticator,
    clock: Clock,
    providers: ProvidersShown,
    toolbox: Callable[[], McpToolbox | None] = lambda: None,
    more: Sequence[Route] = (),
) -> Starlette:
    pages = Pages(reading, authenticator, clock, providers, toolbox)
    routes = [
        Route(f"{mount}{path}", page)
        for mount in MOUNTS
        for path, page in (
            ("/interceptions", pages.interceptions),
            ("/interceptions/{id}", pages.interception),
            ("/providers", pages.providers),
            ("/mcp", pages.mcp),
        )
    ]
    routes += (Route("/openapi.json", pages.openapi), *more)
    answers = dict.fromkeys((*problems.ANSWERED, 500), problems.answer_to)
    app = Starlette(routes=routes, exception_handlers=answers)
    app.router.redirect_slashes = False  # it would lead to whatever host the client has named
    return app


class Pages:
    """The pages; each says first who asks."""

    def __init__(
        self,
        reading: Reading,
        authenticator: GatewayAuthenticator,
        clock: Clock,
        providers: ProvidersShown,
        toolbox: Callable[[], McpToolbox | None],
    ) -> None:
        self._toolbox = toolbox
        self._reading = reading
        self._authenticator = authenticator
        self._clock = clock
        self._providers = providers

    async def interceptions(self, request: Request) -> Response:
        reader = await self._reader(request)
        wanted = asked(request.query_params.multi_items(), me=reader.id, now=self._clock.now())

        if reader.only is None:
            _log.info("everybody's interceptions were listed", extra={"reader": reader.username})

        def page() -> bytes:
            found = self._reading.interceptions(
                wanted.filters, limit=wanted.limit, after_id=wanted.after_id, only_initiator=reader.only
            )
            return msgspec.json.encode(shapes.interceptions(found))

        return await _json(page)

    async def interception(self, request: Request) -> Response:
        reader = await self._reader(request)
        wanted: str = request.path_params["id"]
        find = partial(self._reading.interception, wanted, only_initiator=reader.only)
        found = await asyncio.to_thread(find)
        if found is None:
            return problems.problem(404, f"there is no interception {wanted[:40]}")
        if found["initiator"]["id"] != reader.id:
            _log.info(
                "somebody's interception was read",
                extra={"reader": reader.username, "initiator_id": found["initiator"]["id"], "interception_id": wanted},
            )
        return await _json(lambda: msgspec.json.encode(shapes.interception(found)))

    async def providers(self, request: Request) -> Response:
        reader = await self._reader(request)
        # Here and not in a thread: what it reads changes with every request, and is small.
        body = msgspec.json.encode(self._providers(everything=reader.only is None))
        return Response(body, 200, problems.HEADERS, "application/json")

    async def mcp(self, request: Request) -> Response:
        signed_in, _ = await self._authenticator.sign_in(request.scope)
        reader = reader_of(signed_in)
        toolbox = self._toolbox()
        if toolbox is None:
            return await _json(lambda: msgspec.json.encode(shapes.McpServers([])))
        user = signed_in.user
        actor = Actor(id=user.id, username=user.username, groups=user.groups)
        found = toolbox.status() if reader.only is None else toolbox.status_for(actor)
        return await _json(lambda: msgspec.json.encode(shapes.McpServers(found)))

    async def openapi(self, request: Request) -> Response:  # noqa: ARG002  a page's argument
        return await _json(lambda: msgspec.json.encode(document()))

    async def _reader(self, request: Request) -> Reader:
        signed_in, _ = await self._authenticator.sign_in(request.scope)
        return reader_of(signed_in)


async def _json(body: Callable[[], bytes]) -> Response:
    """Made in a thread: a page may be large, and streams must not wait for it."""
    return Response(await asyncio.to_thread(body), 200, problems.HEADERS, "application/json")

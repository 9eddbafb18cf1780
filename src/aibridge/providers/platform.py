"""A platform: a cloud that serves a provider's models in its own way. Its URLs, bodies, signatures and codings end here.

What the house sends and reads is the provider's dialect, with a platform as without. The rewriting is pure; the one
thing that takes time is the signature, which is made last, anew for each attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

from msgspec.structs import replace

from aibridge.errors import Header
from aibridge.ports import (
    CredentialSource,
    OpenUpstream,
    Upstream,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamTimeouts,
)
from aibridge.providers.credential import Credential

PlatformName = Literal["bedrock", "vertex"]


@dataclass(frozen=True, slots=True)
class Incoming:
    """An answer of the platform's as the dialect has it: a new head, and what becomes of the body.

    `piece` turns the body's pieces as they come; `whole` the body once it is there, `MAX_WHOLE` bytes of it at most.
    Neither: it passes as it is.
    """

    status: int
    headers: Sequence[Header]
    piece: Callable[[bytes], bytes] | None = None
    whole: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A cloud, as a value. Its settings are in its functions."""

    name: PlatformName
    credentials: CredentialSource = field(repr=False)
    model_of: Callable[[str], str] = field(repr=False)
    """The model that is asked, and recorded, for the one that a client names."""
    outgoing: Callable[[UpstreamRequest, str], UpstreamRequest] = field(repr=False)
    """A request for a path of the provider's API as the platform wants it. Raises InvalidRequest."""
    incoming: Callable[[int, Sequence[Header]], Incoming] = field(repr=False)
    """What to make of an answer with this head."""
    models: tuple[str, ...] = ()
    """The names that clients may use, as far as the configuration knows them."""

    def open(
        self,
        upstream: Upstream,
        request: UpstreamRequest,
        timeouts: UpstreamTimeouts,
        path: str,
        served: Callable[[Credential], None],
    ) -> OpenUpstream:
        """`Upstream.open` for a request as the provider itself would get it. `served` is told the credential that is used.

        Raises: InvalidRequest, when the platform cannot be asked this.
        """
        return _Opening(self, upstream, self.outgoing(request, path), timeouts, served)


class _Opening:
    """See `aibridge.ports.OpenUpstream`."""

    __slots__ = ("_opening", "_platform", "_request", "_served", "_timeouts", "_upstream")

    def __init__(
        self,
        platform: Platform,
        upstream: Upstream,
        request: UpstreamRequest,
        timeouts: UpstreamTimeouts,
        served: Callable[[Credential], None],
    ) -> None:
        self._platform = platform
        self._upstream = upstream
        self._request = request
        self._timeouts = timeouts
        self._served = served
        self._opening: OpenUpstream | None = None

    async def __aenter__(self) -> UpstreamResponse:
        proof = await self._platform.credentials.proof(self._request)
        self._served(Credential("centralized", proof.hint, None, proof.secrets))
        request = replace(self._request, headers=[*self._request.headers, *proof.headers])
        opening = self._upstream.open(request, self._timeouts)
        response = await opening.__aenter__()
        self._opening = opening
        incoming = self._platform.incoming(response.status, response.headers)
        return _Response(response, incoming)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._opening is not None:
            await self._opening.__aexit__(kind, error, traceback)


class _Response:
    """See `aibridge.ports.UpstreamResponse`."""

    __slots__ = ("_incoming", "_response", "_told")

    def __init__(self, response: UpstreamResponse, incoming: Incoming) -> None:
        self._response = response
        self._incoming = incoming
        self._told = incoming.whole is None  # what was made of the whole body has been given out

    @property
    def status(self) -> int:
        return self._incoming.status

    @property
    def headers(self) -> Sequence[Header]:
        return self._incoming.headers

    @property
    def at_end(self) -> bool:
        return self._told and self._response.at_end

    async def read(self) -> bytes:
        if self._incoming.whole is not None:
            return await self._whole(self._incoming.whole)
        if self._incoming.piece is None:
            return await self._response.read()
        while chunk := await self._response.read():
            if data := self._incoming.piece(chunk):
                return data
        return b""

    async def hand_to(self, take: Callable[[bytes], bool]) -> None:
        """Nothing passes by `read`, where it is turned into something else."""
        if self._incoming.piece is None and self._incoming.whole is None:
            await self._response.hand_to(take)

    async def _whole(self, turned: Callable[[bytes], bytes]) -> bytes:
        if self._told:
            return b""
        body = bytearray()
        while len(body) < MAX_WHOLE and (chunk := await self._response.read()):
            body += chunk
        self._told = True
        return turned(bytes(body))


MAX_WHOLE = 1024 * 1024
"""How much of a body is read before something is made of it as a whole, in bytes: only errors are."""

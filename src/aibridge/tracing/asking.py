"""A way out whose every answer is a span, from the request to the last byte that came.

The trace context of the client does not reach the provider. Ours does where that is switched on, and only then: it lets
a provider join what it sees with what the organisation keeps.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType

from msgspec import structs
from opentelemetry.context import Context
from opentelemetry.trace import Span

from aibridge.errors import Header
from aibridge.ports import OpenUpstream, Upstream, UpstreamRequest, UpstreamResponse, UpstreamTimeouts
from aibridge.tracing import names
from aibridge.tracing.following import Current, Following, failed, failed_by
from aibridge.tracing.propagation import injected, is_trace_context
from aibridge.watched_response import WatchedResponse


class TracedUpstream:
    """See `aibridge.ports.Upstream`."""

    __slots__ = ("_current", "_propagate", "_upstream")

    def __init__(self, upstream: Upstream, current: Current, *, propagate: bool) -> None:
        self._upstream = upstream
        self._current = current
        self._propagate = propagate

    def open(self, request: UpstreamRequest, timeouts: UpstreamTimeouts, *, decode: bool = True) -> OpenUpstream:
        following = self._current.get()
        headers = [header for header in request.headers if not is_trace_context(header[0])]
        if following is None or not following.recording:
            if self._propagate and following is not None:
                headers += injected(following.context)
            return self._upstream.open(structs.replace(request, headers=headers), timeouts, decode=decode)
        span, context = following.open_upstream(request.url)
        if request.purpose is not None and request.purpose.attempt:
            span.set_attribute(names.RESEND_COUNT, request.purpose.attempt)
        return _Opening(self._upstream, request, timeouts, decode, following, span, self._headers(headers, context))

    async def close(self) -> None:
        await self._upstream.close()

    def _headers(self, headers: list[Header], context: Context) -> list[Header]:
        return [*headers, *injected(context)] if self._propagate else headers


class _Opening:
    """See `aibridge.ports.OpenUpstream`. `_last` is when the last bytes came, in nanoseconds of the epoch."""

    __slots__ = ("_following", "_last", "_opening", "_span", "_started")

    def __init__(
        self,
        upstream: Upstream,
        request: UpstreamRequest,
        timeouts: UpstreamTimeouts,
        decode: bool,
        following: Following,
        span: Span,
        headers: Sequence[Header],
    ) -> None:
        self._following = following
        self._span = span
        self._last: int | None = None
        self._started = time.time_ns()
        self._opening = upstream.open(structs.replace(request, headers=headers), timeouts, decode=decode)

    async def __aenter__(self) -> UpstreamResponse:
        try:
            response = await self._opening.__aenter__()
        except BaseException as error:
            failed_by(self._span, error)
            self._following.close_upstream(self._span, None)
            raise
        self._span.set_attribute(names.STATUS_CODE, response.status)
        if response.status >= 400:
            failed(self._span, str(response.status))
        return WatchedResponse(response, self._saw)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            failed_by(self._span, error)
        self._following.close_upstream(self._span, None if error is not None else self._last)
        await self._opening.__aexit__(kind, error, traceback)

    def _saw(self, _: bytes) -> None:
        now = time.time_ns()
        if self._last is None:
            self._span.set_attribute(names.TIME_TO_FIRST_CHUNK, (now - self._started) / 1e9)
        self._last = now

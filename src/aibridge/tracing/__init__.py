"""Traces: each request as a tree of spans, for OpenTelemetry. Needs the extra `tracing`.

A host hands its own tracer provider to `Tracing`, and that to `RequestBridge(tracing=...)`; the server's comes from
`otlp`. A bridge without one imports nothing of this and does nothing of it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.trace import SpanKind, TracerProvider

from aibridge import __version__
from aibridge.ports import Identity, Recorder, Toolbox, Upstream
from aibridge.tracing import names
from aibridge.tracing.asking import TracedUpstream
from aibridge.tracing.calling import Connections, TracedToolbox
from aibridge.tracing.following import Current, Following, Intercepting, Passing
from aibridge.tracing.propagation import extracted
from aibridge.tracing.recording import TracedRecorder

__all__ = ["Tracing"]


class Tracing:
    """Follows the requests of one bridge (see `aibridge.ports.Tracing`), and the connections of its toolbox
    (`aibridge.tool_ports.Connecting`).

    Args:
        provider: where spans go; by default OpenTelemetry's global one.
        propagate: tell providers the trace context, in `traceparent` and `tracestate`.
    """

    def __init__(self, provider: TracerProvider | None = None, *, propagate: bool = False) -> None:
        self._tracer = trace.get_tracer("aibridge", __version__, tracer_provider=provider)
        self._propagate = propagate
        self._connections = Connections(self._tracer)
        self._current: Current = ContextVar("aibridge_following", default=None)

    def recording(self, recorder: Recorder) -> Recorder:
        return TracedRecorder(recorder, self._current)

    def asking(self, upstream: Upstream) -> Upstream:
        return TracedUpstream(upstream, self._current, propagate=self._propagate)

    def calling(self, toolbox: Toolbox) -> Toolbox:
        return TracedToolbox(toolbox, self._connections, self._current)

    def connecting(self, server: str, url: str | None) -> AbstractContextManager[None]:
        return self._connections.connecting(server, url)

    def listing(self) -> AbstractContextManager[None]:
        return self._connections.listing()

    def following(
        self,
        method: str,
        provider_name: str,
        path: str,
        identity: Identity,
        *,
        bridged: bool,
        platform: str | None = None,
    ) -> Following:
        ours = get_current()  # a host that traces its own requests is the parent, else the client
        parent = ours if trace.get_current_span(ours).get_span_context().is_valid else extracted(identity.headers)
        said = {
            names.ACTOR_ID: identity.actor.id,
            names.PROVIDER: provider_name,
            names.REQUEST_PATH: f"/{provider_name}{path}",
            names.METHOD: method,
        }
        if not bridged:
            root = self._tracer.start_span(names.PASSTHROUGH, context=parent, kind=SpanKind.SERVER, attributes=said)
            return Passing(self._tracer, self._current, root)
        root = self._tracer.start_span(names.INTERCEPT, context=parent, kind=SpanKind.SERVER, attributes=said)
        if platform == "bedrock":
            root.set_attribute(names.AWS_BEDROCK, value=True)
        return Intercepting(self._tracer, self._current, root, platform)

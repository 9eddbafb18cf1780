"""Spans by OTLP over HTTP, configured by OpenTelemetry's own variables (`OTEL_*`) and by nothing else.

Requests never wait for a collector: spans queue, bounded, for a thread, and are dropped where that cannot keep up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.environment_variables import OTEL_SERVICE_NAME
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from aibridge import __version__
from aibridge.tracing import Tracing

_CLOSING = 5.0  # seconds that a collector has, at the end, to take the last spans


@asynccontextmanager
async def otlp_tracing(*, propagate: bool = False) -> AsyncIterator[Tracing]:
    """Tracing whose spans are exported; leaving the block sends the last ones, or gives them up."""
    provider = TracerProvider(resource=_resource())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    try:
        yield Tracing(provider, propagate=propagate)
    finally:
        await asyncio.to_thread(_close, provider)


def _close(provider: TracerProvider) -> None:
    provider.force_flush(int(_CLOSING * 1000))
    provider.shutdown()


def _resource() -> Resource:
    """Ours, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` say otherwise."""
    said = Resource.create({SERVICE_VERSION: __version__})
    named = os.environ.get(OTEL_SERVICE_NAME) or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return said if named else said.merge(Resource({SERVICE_NAME: "aibridge"}))

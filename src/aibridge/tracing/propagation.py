"""W3C Trace Context in raw headers: https://www.w3.org/TR/trace-context/"""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aibridge.errors import Header

_PROPAGATOR = TraceContextTextMapPropagator()
_NAMES = (b"traceparent", b"tracestate")


def is_trace_context(name: bytes) -> bool:
    return len(name) in (10, 11) and name.lower() in _NAMES


def extracted(headers: Sequence[Header]) -> Context:
    """The client's context; an empty one when it sent none, or one that is none (section 2.2 and 4.3 of the text)."""
    found = [(name.lower().decode(), value.decode("latin-1")) for name, value in headers if is_trace_context(name)]
    parents = [value for name, value in found if name == "traceparent"]
    if len(parents) != 1:
        return Context()
    states = ",".join(value for name, value in found if name == "tracestate")
    return _PROPAGATOR.extract({"traceparent": parents[0], "tracestate": states}, Context())


def injected(context: Context) -> list[Header]:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context)
    return [(name.encode(), value.encode()) for name, value in carrier.items()]

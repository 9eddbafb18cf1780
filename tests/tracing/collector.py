"""An OTLP collector on loopback: takes what an exporter sends over HTTP, decodes the protobuf, and gives span trees."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Encoded
from opentelemetry.proto.trace.v1.trace_pb2 import Status

BOUND = 30.0  # seconds; a server under test may have to end before its last spans come

Tree: TypeAlias = tuple[str, tuple["Tree", ...]]


@dataclass(frozen=True)
class Span:
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    start: int
    end: int
    failed: bool
    said: str  # of the status
    attributes: Mapping[str, Any]
    events: int


@dataclass
class Collector:
    """What came, and where it is to be sent."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    resources: list[Mapping[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, data: bytes) -> None:
        asked = ExportTraceServiceRequest.FromString(data)
        with self.changed:
            self.raw.append(data)
            for of_resource in asked.resource_spans:
                self.resources.append({each.key: _plain(each.value) for each in of_resource.resource.attributes})
                for scope in of_resource.scope_spans:
                    self.spans += map(_decoded, scope.spans)
            self.changed.notify_all()

    def roots(self) -> list[Span]:
        """The spans whose parents are not ours, in the order of their beginning."""
        known = {span.span_id for span in self.spans}
        return sorted((span for span in self.spans if span.parent_id not in known), key=lambda span: span.start)

    def until(self, roots: int) -> list[Span]:
        """The roots, once so many came. A root is sent after everything below it."""
        deadline = time.monotonic() + BOUND
        with self.changed:
            while len(self.ours()) < roots:
                left = deadline - time.monotonic()
                assert left > 0, f"{len(self.ours())} of {roots} came"
                self.changed.wait(left)
        return self.ours()

    def ours(self) -> list[Span]:
        return [span for span in self.roots() if span.name in ("Intercept", "Passthrough")]

    def below(self, span: Span) -> list[Span]:
        return sorted((each for each in self.spans if each.parent_id == span.span_id), key=lambda each: each.start)

    def tree(self, span: Span) -> Tree:
        """Names only, the spans of one parent in the order of their beginning."""
        return span.name, tuple(self.tree(each) for each in self.below(span))

    def failed(self) -> list[str]:
        return sorted(f"{span.name}: {span.attributes.get('error.type')}" for span in self.spans if span.failed)

    def named(self, name: str) -> Span:
        (found,) = [span for span in self.spans if span.name == name]
        return found


def _decoded(span: Encoded) -> Span:
    return Span(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=Encoded.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        said=span.status.message,
        attributes={each.key: _plain(each.value) for each in span.attributes},
        events=len(span.events),
    )


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    return None if kind is None else getattr(value, kind)


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/x-protobuf"
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  the name that is overridden
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    collector.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

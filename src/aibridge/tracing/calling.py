"""A toolbox whose every call is a span, and every list that a request waits for; and below them the connections that
these begin.

Of what the model wrote, the first hundred characters of the arguments are on a span, and nothing that a server says.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Tracer, set_span_in_context

from aibridge.ports import Identity, Toolbox
from aibridge.tools import Tool, ToolCall, ToolResult, Toolset
from aibridge.tracing import names
from aibridge.tracing.following import Current, Intercepting, failed, failed_by, shortened

_INPUT = 100  # characters


class TracedToolbox:
    """See `aibridge.ports.Toolbox`; `current` holds the request that the running task serves."""

    __slots__ = ("_connections", "_current", "_toolbox")

    def __init__(self, toolbox: Toolbox, connections: Connections, current: Current) -> None:
        self._toolbox = toolbox
        self._connections = connections
        self._current = current

    async def tools(self, identity: Identity) -> Toolset:
        following = self._current.get()
        if not isinstance(following, Intercepting):
            return await self._toolbox.tools(identity)
        if not following.recording:
            with self._connections.begun_in(following.context):
                return await self._toolbox.tools(identity)
        span = following.child(names.TOOLS)
        with self._connections.begun_in(set_span_in_context(span)), ending(span):
            return await self._toolbox.tools(identity)

    async def call(self, identity: Identity, tool: Tool, call: ToolCall) -> ToolResult:
        following = self._current.get()
        if not isinstance(following, Intercepting):
            return await self._toolbox.call(identity, tool, call)
        if not following.recording:
            with self._connections.begun_in(following.context):
                return await self._toolbox.call(identity, tool, call)
        span = following.child(names.TOOL_CALL)
        span.set_attributes(
            {
                names.TOOL_SERVER: tool.server,
                names.TOOL_NAME: shortened(tool.name),
                names.TOOL_URL: _without_secrets(tool.server_url),
                names.TOOL_INPUT: call.arguments[:_INPUT].encode("utf-8", "replace").decode(),
                names.CALL_ID: shortened(call.call_id),
            }
        )
        with self._connections.begun_in(set_span_in_context(span)), ending(span):
            result = await self._toolbox.call(identity, tool, call)
            if result.error is not None:
                failed(span, "tool_error")
            return result


@contextmanager
def ending(span: Span) -> Iterator[None]:
    """The span is what happens in the block."""
    try:
        yield
    except BaseException as error:
        failed_by(span, error)
        raise
    finally:
        span.end()


class Connections:
    """See `aibridge.tool_ports.Connecting`. A connection is below what began it, which it may outlive."""

    __slots__ = ("_begun_in", "_tracer")

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._begun_in: ContextVar[Context | None] = ContextVar("aibridge_connections_begun_in", default=None)

    @contextmanager
    def begun_in(self, context: Context) -> Iterator[None]:
        """Whatever a task of the block connects to is below this."""
        token = self._begun_in.set(context)
        try:
            yield
        finally:
            self._begun_in.reset(token)

    @contextmanager
    def connecting(self, server: str, url: str | None) -> Iterator[None]:
        said = {names.TOOL_SERVER: server, names.TOOL_URL: _without_secrets(url)}
        span = self._tracer.start_span(names.CONNECT, self._begun_in.get() or Context(), SpanKind.CLIENT, said)
        with self.begun_in(set_span_in_context(span)), ending(span):
            yield

    @contextmanager
    def listing(self) -> Iterator[None]:
        with ending(self._tracer.start_span(names.LIST, self._begun_in.get() or Context())):
            yield


def _without_secrets(url: str | None) -> str:
    """Where a server is, without what may open it: no user, no query. "" for a process of this machine."""
    parts = urlsplit(url or "")
    return (
        f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
        if parts.hostname
        else ""
    )

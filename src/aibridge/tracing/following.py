"""The spans of one request: which is open, what hangs from what, and what they say when it goes wrong.

Nothing that came from outside gets on a span but names (model, ids, kinds of error), short and printable: no prompt, no
text of an error, no header. What this file does never fails a request, and never waits.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, Token
from types import TracebackType
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from aibridge.errors import Refused, kind_of
from aibridge.records import InterceptionRecord, InterceptionRecordEnded, PromptUsageRecord, TokenUsageRecord
from aibridge.tracing import names

_LONGEST = 256  # characters of a model's name or an id that others chose
_FINE = frozenset({"completed", "client_gone", "rejected"})
# What the conventions call the clouds that serve a provider's models.
_PLATFORMS = {"bedrock": "aws.bedrock", "vertex": "gcp.vertex_ai"}
_FAILED = Status(StatusCode.ERROR)

Current = ContextVar["Following | None"]


class Following:
    """One request, from its route to its end. Enter it around the work."""

    __slots__ = ("_current", "_root", "_token", "_tracer", "context", "recording")

    def __init__(self, tracer: Tracer, current: Current, root: Span) -> None:
        self._tracer = tracer
        self._current = current
        self._root = root
        self._token: Token[Following | None]
        self.context: Context = set_span_in_context(root)
        self.recording = root.is_recording()
        """False: the sampler wants nothing of this request."""

    def __enter__(self) -> None:
        self._token = self._current.set(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._current.reset(self._token)
        if self.recording:
            self._close(error)
        self._root.end()

    def open_upstream(self, url: str) -> tuple[Span, Context]:  # noqa: ARG002  one of a bridged request tells it
        """The span that is told of the provider's answer, and what the provider may be told as its parent."""
        return self._root, self.context

    def close_upstream(self, span: Span, ended_at: int | None) -> None:
        """The provider's answer is over; `ended_at` is when its last byte came."""

    def child(self, name: str) -> Span:
        """A piece of the work, to be ended by whoever asked for it."""
        return self._tracer.start_span(name, context=self.context)

    def _close(self, error: BaseException | None) -> None:
        if error is not None:
            failed_by(self._root, error)


class Passing(Following):
    """A request on a passthrough route: one span."""

    __slots__ = ()


class Intercepting(Following):
    """A bridged request: the first span below the root lasts until its record begins, the last from then on."""

    __slots__ = ("_failed", "_phase", "_platform", "_record", "_upstream")

    def __init__(self, tracer: Tracer, current: Current, root: Span, platform: str | None = None) -> None:
        super().__init__(tracer, current, root)
        self._platform = platform
        self._record: InterceptionRecord | None = None
        self._upstream: Span | None = None
        self._failed: str | None = None
        self._phase: Span | None = self.child(names.CREATE_INTERCEPTOR) if self.recording else None

    # -- what the recorder is told ---------------------------------------------------------------------

    def begins(self, record: InterceptionRecord) -> None:
        self._record = record
        self._end_phase()
        said: dict[str, str | bool] = {
            names.INTERCEPTION_ID: record.id,
            names.MODEL: shortened(record.model),
            names.STREAMING: record.streaming,
            names.CLIENT: record.client,
        }
        if "requested_model" in record.metadata:
            said[names.REQUESTED_MODEL] = shortened(record.metadata["requested_model"])
        if record.upstream_user is not None:
            said[names.USER_ID] = record.upstream_user
        self._root.set_attributes(said)

    def processing(self) -> None:
        """The start is on record: from here on everything belongs to the request's own processing."""
        if self._phase is None:
            self._phase = self._tracer.start_span(names.PROCESS_REQUEST, context=self.context)
            self.context = set_span_in_context(self._phase)

    def used(self, record: TokenUsageRecord) -> None:
        """The conventions count cached tokens among the input; our records do not."""
        if self._upstream is None:
            return
        read, written = record.cache_read_tokens, record.cache_write_tokens
        said: dict[str, str | int] = {
            names.INPUT_TOKENS: record.input_tokens + read + written,
            names.OUTPUT_TOKENS: record.output_tokens,
            names.CACHE_READ_TOKENS: read,
            names.CACHE_WRITE_TOKENS: written,
        }
        if record.model is not None:
            said[names.RESPONSE_MODEL] = shortened(record.model)
        self._upstream.set_attributes(said)
        self.answered_as(record)

    def answered_as(self, record: TokenUsageRecord | PromptUsageRecord) -> None:
        """The provider's answer has an id."""
        if self._upstream is not None and record.provider_response_id is not None:
            self._upstream.set_attribute(names.RESPONSE_ID, shortened(record.provider_response_id))

    def ends(self, record: InterceptionRecordEnded) -> None:
        self._root.set_attribute(names.STATE, record.state)
        if record.http_status is not None:
            self._root.set_attribute(names.STATUS_CODE, record.http_status)
        if record.error_type is not None and record.state != "client_gone":
            self._failed = kind_of(record.error_type)
            self._root.set_attribute(names.ERROR_TYPE, self._failed)
        if record.state not in _FINE:
            self._failed = self._failed or record.state
            failed(self._root, self._failed)
            # Also what a provider said in the midst of a stream: the answer itself began well.
            if self._upstream is not None and record.state.startswith("upstream_"):
                failed(self._upstream, self._failed)
        else:
            self._failed = None

    # -- the way out -----------------------------------------------------------------------------------

    def open_upstream(self, url: str) -> tuple[Span, Context]:
        self.processing()
        parts, record = urlsplit(url), self._record
        said: dict[str, str | int | bool] = {
            names.OPERATION_NAME: names.CHAT,
            names.SERVER_ADDRESS: parts.hostname or "",
            names.SERVER_PORT: parts.port or (443 if parts.scheme == "https" else 80),
        }
        if record is not None:
            said[names.PROVIDER_NAME] = _PLATFORMS.get(self._platform or "", record.provider)
            said[names.REQUEST_MODEL] = shortened(record.model)
            said[names.REQUEST_STREAM] = record.streaming
        span = self._tracer.start_span(names.UPSTREAM, context=self.context, kind=SpanKind.CLIENT, attributes=said)
        self._upstream = span
        return span, set_span_in_context(span)

    def close_upstream(self, span: Span, ended_at: int | None) -> None:
        self._upstream = None
        span.end(ended_at)

    # -- the end ---------------------------------------------------------------------------------------

    def _close(self, error: BaseException | None) -> None:
        if self._phase is not None:
            if self._failed is not None:
                failed(self._phase, self._failed)
            elif error is not None:
                failed_by(self._phase, error)
        self._end_phase()
        if self._failed is None:
            super()._close(error)

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._phase.end()
            self._phase = None


def failed(span: Span, kind: str) -> None:
    span.set_attribute(names.ERROR_TYPE, kind)
    span.set_status(_FAILED)


def failed_by(span: Span, error: BaseException) -> None:
    """An error as its kind: what it says may hold anything. Being cancelled is none."""
    if isinstance(error, Refused):
        span.set_attribute(names.STATUS_CODE, error.problem.status)
        failed(span, str(error.problem.status))
    elif not isinstance(error, asyncio.CancelledError | GeneratorExit):
        failed(span, type(error).__name__)


def shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST]

"""What is known of one interception until its end is durable; then it moves the series, all at once."""

from __future__ import annotations

from collections.abc import Callable

from aibridge.metrics.incidents import Incidents
from aibridge.metrics.series import OfOneKind, Series
from aibridge.records import InterceptionRecordEnded, TokenUsageRecord, ToolUsageRecord


class Following:
    """An `Observation`. `forget` is called when there is nothing more to come."""

    __slots__ = (
        "_asked",
        "_began",
        "_forget",
        "_in_flight",
        "_incidents",
        "_kind",
        "_monotonic",
        "_read",
        "_series",
        "_status",
        "injected",
        "left_out",
        "prompts",
        "tokens",
        "tools",
    )

    def __init__(
        self,
        series: Series,
        incidents: Incidents,
        kind: OfOneKind,
        monotonic: Callable[[], float],
        forget: Callable[[], object] | None = None,
    ) -> None:
        self._series = series
        self._incidents = incidents
        self._kind = kind
        self._monotonic = monotonic
        self._forget = forget
        self._began = monotonic()
        self._asked: float | None = None
        self._read: float | None = None
        self._status: int | None = None
        self._in_flight = forget is not None
        if self._in_flight:
            kind.in_flight.inc()
        self.left_out: set[str] = set()
        """Ids of records that are not kept; the interception's own: of its start or end."""
        self.prompts: list[str] = []
        self.tokens: list[TokenUsageRecord] = []
        self.tools: list[tuple[str, str]] = []
        self.injected: list[tuple[str, str, str]] = []

    def asked(self) -> None:
        if self._asked is None:
            self._asked = self._monotonic()

    def answered(self, status: int) -> None:
        self._status = status

    def unreadable(self) -> None:
        self._incidents.parse_errors.labels(self._kind.provider, self._kind.model).inc()

    def ran(self, record: ToolUsageRecord, server: str) -> None:
        self.injected.append((record.id, server, record.tool))

    def read(self) -> None:
        if self._read is None:
            self._read = self._monotonic()

    def over(self) -> None:
        if self._in_flight:
            self._in_flight = False
            self._kind.in_flight.dec()
        if self._forget is not None:
            self._forget()

    def recorded(self, end: InterceptionRecordEnded) -> None:
        """The end, and with it everything before, is durable."""
        kind, now = self._kind, self._monotonic()
        completed = end.state == "completed"
        (kind.completed if completed else kind.failed).inc()
        kind.duration.observe(now - self._began)
        if end.time_to_first_byte is not None:
            kind.first_byte.observe(end.time_to_first_byte)
        if self._asked is not None and self._read is not None:
            kind.overhead.observe(self._asked - self._began + now - self._read)
        self._count_what_it_holds()
        if completed:
            if not self.tokens:
                self._incidents.without_usage.labels(kind.provider, kind.model).inc()
        elif end.state == "client_gone":
            self._incidents.disconnects.labels(kind.provider, kind.model, kind.client).inc()
        elif end.state in ("upstream_error", "upstream_stalled"):
            self._incidents.upstream_errors.labels(kind.provider, kind.model, _kind_of(end, self._status)).inc()

    def _count_what_it_holds(self) -> None:
        for prompt in self.prompts:
            if prompt not in self.left_out:
                self._kind.prompts.inc()
        for usage in self.tokens:
            if usage.id not in self.left_out:
                self._count(usage)
        for call, tool in self.tools:
            if call not in self.left_out:
                self._series.selections(self._kind, tool).inc()
        for call, server, tool in self.injected:
            if call not in self.left_out:
                self._series.invocations(self._kind, server, tool).inc()

    def _count(self, usage: TokenUsageRecord) -> None:
        kind, series = self._kind, self._series
        series.tokens(kind, "input").inc(usage.input_tokens)
        series.tokens(kind, "output").inc(usage.output_tokens)
        if usage.cache_read_tokens:
            series.tokens(kind, "cache_read").inc(usage.cache_read_tokens)
        if usage.cache_write_tokens:
            series.tokens(kind, "cache_write").inc(usage.cache_write_tokens)
        for name, number in usage.extra.items():
            if number and isinstance(number, int):
                series.tokens(kind, name).inc(number)


_KEYS_REFUSED = "authentication_error"


def _kind_of(end: InterceptionRecordEnded, status: int | None) -> str:
    """What the provider did. `status` is what it answered; None: nothing, or nobody observed."""
    if end.state == "upstream_stalled":
        return "stalled"
    broken = end.error_type == "connection_error"
    if status is None:
        status = end.http_status
        if status is None or broken:
            return "unreachable"
        if end.error_type == _KEYS_REFUSED:  # all of them, some in earlier requests: what we answered is no 401
            return "unauthorized"
    if status < 300:
        return "broken_off" if broken else "in_reply"
    if status < 400:
        return "redirect"
    if status in (401, 403):
        return "unauthorized"
    if status == 429:
        return "rate_limited"
    if status in (503, 529):
        return "overloaded"
    return "client_error" if status < 500 else "server_error"

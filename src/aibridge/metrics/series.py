"""Every series of the bridge: names, labels, buckets, and the ready-made children of one kind of interception.

Label values come from the configuration and from tables of ours; model and tool names are capped (see `names.py`).
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from aibridge import __version__
from aibridge.metrics.names import Names
from aibridge.records import InterceptionRecord

_DURATIONS = (0.5, 2, 5, 15, 30, 60, 120)
_FIRST_BYTES = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120)
_OVERHEADS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2)
_METHOD = "POST"  # bridged routes take no other


@dataclass(frozen=True, slots=True)
class OfOneKind:
    """The series that an interception moves, with its labels filled in."""

    provider: str
    model: str
    client: str
    in_flight: Gauge
    completed: Counter
    failed: Counter
    duration: Histogram
    first_byte: Histogram
    overhead: Histogram
    prompts: Counter
    tokens: dict[str, Counter]  # by type; filled as types occur


class Series:
    """Registers everything. Raises: ValueError when the registry has one of the names already."""

    def __init__(self, registry: CollectorRegistry, prefix: str, *, include_initiator: bool, most_names: int) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(prefix + name, text, labels, registry=registry)

        def histogram(name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
            return Histogram(prefix + name, text, labels, registry=registry, buckets=buckets)

        self._include_initiator = include_initiator
        self._models = Names(most_names)
        self._tools = Names(most_names)
        self._injected = Names(most_names)
        self._kinds: dict[tuple[str, str, str, str, str], OfOneKind] = {}
        of_model = ("provider", "model")
        initiator = ("initiator_id",) if include_initiator else ()
        self._interceptions = counter(
            "interceptions_total",
            "Interceptions whose end is on record; failed is every end but completed.",
            *(*of_model, "status", "route", "method", "client", *initiator),
        )
        self._in_flight = Gauge(
            f"{prefix}interceptions_inflight",
            "Interceptions that have begun and not ended.",
            (*of_model, "route"),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._durations = histogram(
            "interceptions_duration_seconds", "From the start to the durable end.", of_model, _DURATIONS
        )
        self._first_bytes = histogram(
            "time_to_first_byte_seconds", "From the start to the provider's first byte.", of_model, _FIRST_BYTES
        )
        self._overheads = histogram(
            "gateway_overhead_seconds",
            "The gateway's own time: before the provider is asked, and from its last byte to the durable end.",
            ("provider",),
            _OVERHEADS,
        )
        self._prompts = counter("prompts_total", "Prompts on record.", *of_model, "client")
        self._tokens = counter(
            "tokens_total", "Tokens on record; input is without cached.", *of_model, "type", "client"
        )
        self._selections = counter(
            "non_injected_tool_selections_total", "Calls of clients' and hosted tools on record.", *of_model, "name"
        )
        self._invocations = counter(
            "injected_tool_invocations_total",
            "Calls of injected tools that were run, on record; also those that failed.",
            *(*of_model, "server", "name"),
        )
        build = Gauge(
            f"{prefix}build_info",
            "1, with what runs as labels.",
            ("version", "python"),
            registry=registry,
            multiprocess_mode="livemax",
        )
        build.labels(__version__, platform.python_version()).set(1)

    def of(self, record: InterceptionRecord) -> OfOneKind:
        model = self._models.label(record.model)
        initiator = record.initiator_id if self._include_initiator else ""
        key = (record.provider_name, model, record.route, record.client, initiator)
        return self._kinds.get(key) or self._made(key)

    def tokens(self, kind: OfOneKind, token_type: str) -> Counter:
        counter = kind.tokens.get(token_type)
        if counter is None:
            counter = self._tokens.labels(kind.provider, kind.model, token_type, kind.client)
            kind.tokens[token_type] = counter
        return counter

    def selections(self, kind: OfOneKind, tool: str) -> Counter:
        return self._selections.labels(kind.provider, kind.model, self._tools.label(tool))

    def invocations(self, kind: OfOneKind, server: str, tool: str) -> Counter:
        return self._invocations.labels(kind.provider, kind.model, server, self._injected.label(tool))

    def _made(self, key: tuple[str, str, str, str, str]) -> OfOneKind:
        provider, model, route, client, initiator = key
        last = (route, _METHOD, client, *((initiator,) if self._include_initiator else ()))
        kind = OfOneKind(
            provider=provider,
            model=model,
            client=client,
            in_flight=self._in_flight.labels(provider, model, route),
            completed=self._interceptions.labels(provider, model, "completed", *last),
            failed=self._interceptions.labels(provider, model, "failed", *last),
            duration=self._durations.labels(provider, model),
            first_byte=self._first_bytes.labels(provider, model),
            overhead=self._overheads.labels(provider),
            prompts=self._prompts.labels(provider, model, client),
            tokens={},
        )
        self._kinds[key] = kind
        return kind

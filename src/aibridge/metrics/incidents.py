"""What goes wrong, and what passes without a record: the series beside those of interceptions."""

from __future__ import annotations

from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter

Kind = Literal["start", "end", "tokens", "prompt", "tool", "thought"]
"""What a record tells of."""


class Incidents:
    """Registers its series. Raises: ValueError when the registry has one of the names already."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(prefix + name, text, labels, registry=registry)

        of_model = ("provider", "model")
        self.disconnects = counter(
            "client_disconnects_total", "Interceptions whose client hung up before the end.", *of_model, "client"
        )
        self.upstream_errors = counter(
            "upstream_errors_total", "Interceptions that ended by the provider's fault, by kind.", *of_model, "kind"
        )
        self.without_usage = counter(
            "replies_without_usage_total", "Completed interceptions of which the provider told no usage.", *of_model
        )
        self.parse_errors = counter(
            "parse_errors_total", "Events and bodies of providers that could not be read.", *of_model
        )
        self.passthrough = counter(
            "passthrough_total", "Requests let through on passthrough routes.", "provider", "route", "method"
        )
        self.refused = counter(
            "refused_requests_total",
            "Requests answered with an error of the gateway's own that are no interceptions.",
            *("provider", "route", "status"),
        )
        self.recording_failures = counter(
            "recording_failures_total", "Records that were not kept, or not in time, by kind.", "record"
        )
        for kind in get_args(Kind):  # there from the beginning, so that the first failure is seen as an increase
            self.recording_failures.labels(kind)

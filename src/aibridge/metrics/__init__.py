"""Prometheus metrics of a bridge, on a registry of the host's choice (extra `metrics`).

    metrics = Metrics(registry)
    bridge = RequestBridge(recorder=metrics.recording(recorder), observer=metrics, ...)

The rule: what counts interceptions, tokens, prompts and tools moves when their end is durable, and never otherwise.
"""

from aibridge.metrics.counting import Metrics

__all__ = ["Metrics"]

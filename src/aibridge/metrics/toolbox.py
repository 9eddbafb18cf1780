"""What is counted of MCP servers: a `ToolboxObserver`. Labels are the configured names and words of ours."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_DURATIONS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 30, 60)


class ToolboxSeries:
    """Registers its series. Raises: ValueError when the registry has one of the names already."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self._up = Gauge(
            f"{prefix}mcp_server_up",
            "1 while the last attempt to reach an MCP server was good; with several workers the worst of them.",
            ("server",),
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._sessions = Gauge(
            f"{prefix}mcp_sessions",
            "Connections to an MCP server, one for each person who uses it.",
            ("server",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._calls = Counter(
            f"{prefix}mcp_calls_total",
            "Calls of tools on MCP servers, also those of interceptions that left no record.",
            ("server", "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            f"{prefix}mcp_call_seconds",
            "How long calls on MCP servers took.",
            ("server",),
            registry=registry,
            buckets=_DURATIONS,
        )
        self._changes = Counter(
            f"{prefix}mcp_definition_changes_total",
            "Tools whose definition was found changed since it was first seen.",
            ("server",),
            registry=registry,
        )

    def reached(self, server: str, *, up: bool) -> None:
        self._up.labels(server).set(up)

    def sessions(self, server: str, count: int) -> None:
        self._sessions.labels(server).set(count)

    def called(self, server: str, outcome: str, seconds: float) -> None:
        self._calls.labels(server, outcome).inc()
        self._seconds.labels(server).observe(seconds)

    def changed(self, server: str) -> None:
        self._changes.labels(server).inc()

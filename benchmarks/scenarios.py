"""What is measured, in which figures, and what each may cost. The scenarios do not change: else figures do not compare."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One load. `events` = 0 asks for JSON; else each stream has so many, one every `every_us`."""

    name: str
    connections: int
    seconds: float
    ramp_ms: int = 0
    events: int = 0
    every_us: int = 0
    large_body: bool = False
    dialect: str = "messages"

    @property
    def is_stream(self) -> bool:
        return self.events > 0


# Durations are those of the figures in README.md: change one, and they no longer compare.
SCENARIOS = {
    s.name: s
    for s in (
        Scenario("json50", 50, 2),
        Scenario("json50cc", 50, 2, large_body=True),
        Scenario("s50", 50, 2.5, events=200),
        Scenario("l5", 5, 2.5, ramp_ms=500, events=200, every_us=5000),
        Scenario("p50", 50, 3, ramp_ms=1000, events=200, every_us=5000),
        Scenario("p500", 500, 3, ramp_ms=1000, events=200, every_us=20000),
        Scenario("p2000", 2000, 3, ramp_ms=2000, events=60, every_us=50000),
        # Not run by default. As p50, but the streams' events do not fall on the same moments: in p50 the ramp is a
        # multiple of their distance, and a gateway that answers at once gets them in bursts, which cost less.
        Scenario("p50-apart", 50, 3, ramp_ms=1117, events=200, every_us=5000),
        # Nor this: p50 with streams eight times as long, which shows how much of p50 is the beginning and the end of a
        # stream.
        Scenario("p50-long", 50, 3, ramp_ms=1000, events=1600, every_us=5000),
        # Nor these: the other two dialects.
        Scenario("chat-json50", 50, 2, dialect="chat"),
        Scenario("chat-p50", 50, 3, ramp_ms=1000, events=200, every_us=5000, dialect="chat"),
        Scenario("responses-json50", 50, 2, dialect="responses"),
        Scenario("responses-p50", 50, 3, ramp_ms=1000, events=200, every_us=5000, dialect="responses"),
    )
}
DEFAULT = ("json50", "json50cc", "s50", "l5", "p50", "p500", "p2000")
QUICK = ("json50", "p50", "l5")
WARM_UP = Scenario("warm-up", 20, 1)
# Slow streams, so that all of them are open at once for 2.5 s. `connections` is the gateway's own.
MEMORY = Scenario("memory", 0, 2.6, ramp_ms=2500, events=50, every_us=100000)
KILLED = Scenario("killed", 8, 2)

PATHS = {
    "messages": "/v1/messages",
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
}


@dataclasses.dataclass(frozen=True)
class Metric:
    """One row of the table. `unit` scales the stored value; more is better if `up`."""

    label: str
    unit: float = 1
    digits: int = 1
    up: bool = False


METRICS = {
    "cpu_us_per_request": Metric("CPU us / request"),
    "cpu_us_per_event": Metric("CPU us / event"),
    "requests_per_s": Metric("requests / s", digits=0, up=True),
    "events_per_s": Metric("events / s", digits=0, up=True),
    "latency_p50_us": Metric("latency p50 ms", 1e-3, 2),
    "latency_p99_us": Metric("latency p99 ms", 1e-3, 2),
    "ttfb_p50_us": Metric("first byte p50 ms", 1e-3, 2),
    "ttfb_p99_us": Metric("first byte p99 ms", 1e-3, 2),
    "ttfb_added_p50_us": Metric("first byte added p50 ms", 1e-3, 2),
    "delay_p50_us": Metric("event delay p50 us", digits=0),
    "delay_p99_us": Metric("event delay p99 us", digits=0),
    "idle_mb": Metric("idle MB (PSS)"),
    "streams_mb": Metric("with open streams MB"),
    "kb_per_stream": Metric("KB per open stream"),
    "loaded_mb": Metric("after all scenarios MB"),
    "start_s": Metric("start to first answer s", digits=2),
}


def rows_of(scenario: str) -> list[str]:
    """The metrics that the table shows for a scenario."""
    if scenario == MEMORY.name:
        return ["start_s", "idle_mb", "streams_mb", "kb_per_stream", "loaded_mb"]
    s = SCENARIOS[scenario]
    if not s.is_stream:
        return ["cpu_us_per_request", "requests_per_s", "latency_p50_us", "latency_p99_us"]
    rows = ["cpu_us_per_event", "ttfb_p50_us", "ttfb_p99_us", "delay_p50_us", "delay_p99_us"]
    if s.every_us == 0:
        rows.insert(1, "events_per_s")
    if s.name == "l5":
        rows.insert(3, "ttfb_added_p50_us")
    return rows


@dataclasses.dataclass(frozen=True)
class Budget:
    """What the product may cost with recording on and durable: the first version, and the goal."""

    name: str
    scenario: str
    metric: str
    first: float
    goal: float
    of_nginx: bool = False
    unit: str = ""


BUDGETS = (
    Budget("CPU per small request", "json50", "cpu_us_per_request", 250, 60, unit="us"),
    Budget("CPU per 53 KB request", "json50cc", "cpu_us_per_request", 400, 120, unit="us"),
    Budget("CPU per paced event", "p50", "cpu_us_per_event", 2.5, 1.2, of_nginx=True, unit="x nginx"),
    Budget("first byte added, p50", "l5", "ttfb_added_p50_us", 2000, 400, unit="us"),
    Budget("per open stream", "memory", "kb_per_stream", 40, 20, unit="KB"),
    Budget("idle", "memory", "idle_mb", 90, 60, unit="MB"),
    Budget("start to first answer", "memory", "start_s", 1.5, 0.5, unit="s"),
)

# ---- request bodies -----------------------------------------------------------------------------

PROSE = "You are an interactive CLI tool that helps users with software engineering tasks. Use the instructions below. "


def request_body(s: Scenario) -> bytes:
    """The small ones have 70-150 bytes; the large one 53 KB: system prompt, 18 tools, 29 messages."""
    size = f"n{s.events or 200}-i{s.every_us}"
    if s.dialect == "chat":
        body: dict[str, Any] = {"model": f"gpt-{size}", "messages": [{"role": "user", "content": "hi there"}]}
        if s.is_stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
    elif s.dialect == "responses":
        body = {"model": f"gpt-{size}", "input": "hi there", "stream": s.is_stream}
    else:
        text = "Write a function that adds two numbers, please."
        body = {
            "model": f"claude-{size}",
            "max_tokens": 1024,
            "stream": s.is_stream,
            "messages": [{"role": "user", "content": text}],
        }
        if s.large_body:
            body |= agent_conversation()
    return json.dumps(body, separators=(",", ":")).encode()


def agent_conversation() -> dict[str, Any]:
    """What a coding agent sends in the middle of its work."""
    cached = {"type": "ephemeral"}
    parameter = {"type": "string", "description": 'a parameter of the tool that says "what" to do\n'}
    tools = [
        {
            "name": f"Tool{i}",
            "description": PROSE * 8,
            "input_schema": {
                "type": "object",
                "properties": {f"p{j}": parameter for j in range(6)},
                "required": ["p0"],
                "additionalProperties": False,
            },
        }
        for i in range(18)
    ]
    messages: list[dict[str, Any]] = []
    for i in range(14):
        if i % 2:
            user = {"type": "tool_result", "tool_use_id": f"toolu_{i}", "content": PROSE * 12}
        else:
            user = {"type": "text", "text": PROSE * 4}
        call = {"type": "tool_use", "id": f"toolu_{i + 1}", "name": "Tool1", "input": {"p0": "ls -la\n"}}
        messages.append({"role": "user", "content": [user]})
        said = {"type": "text", "text": 'ok, "doing" it\n'}
        messages.append({"role": "assistant", "content": [said, call]})
    last = {"type": "text", "text": "Now fix the failing test, please."}
    messages.append({"role": "user", "content": [last]})
    return {
        "system": [{"type": "text", "text": PROSE * 90, "cache_control": cached}],
        "tools": tools,
        "messages": messages,
        "metadata": {"user_id": "user_abc_account__session_123"},
    }

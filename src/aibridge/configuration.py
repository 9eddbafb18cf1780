"""What a bridge goes by at one moment. A request takes one configuration when it comes, and keeps it to its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from aibridge.interception_log import Fail
from aibridge.interception_ports import Ports
from aibridge.model_names import ModelRules
from aibridge.ports import Toolbox
from aibridge.providers.base import Provider
from aibridge.routes import RouteTable
from aibridge.tool_settings import ToolSettings

MAX_BODY = 32 * 1024 * 1024


class LiveSettings(TypedDict, total=False):
    """What may be changed while a bridge runs; `RequestBridge` says what each means."""

    providers: Sequence[Provider]
    toolbox: Toolbox | None
    tools: ToolSettings
    models: ModelRules | None
    max_body: int
    max_concurrency: int
    on_disconnect: Literal["cancel", "drain"]
    drain_reading: float
    fail: Fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """`reads_on`: how long an answer is read when its client has hung up, in seconds; None: not at all."""

    routes: RouteTable
    ports: Ports
    max_body: int
    max_concurrency: int
    reads_on: float | None

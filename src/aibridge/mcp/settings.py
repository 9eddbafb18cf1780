"""What a toolbox was made with, as one value: it is handed on when the SDK is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from aibridge.mcp.authorization import AuthorizationFor
from aibridge.ports import Clock
from aibridge.tool_ports import Connecting, Pins, ToolboxObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolboxSettings:
    """See `McpToolbox`."""

    authorization: AuthorizationFor
    pins: Pins
    observer: ToolboxObserver
    connecting: Connecting
    clock: Clock
    chance: Callable[[], float]
    patience: float
    idle: float
    complaints: TextIO | None
    ca_bundle: str | None

"""aibridge: a gateway between AI clients and model providers that records who asked what, and what it cost.

Mount it in any ASGI host:

    bridge = RequestBridge(providers=[providers.anthropic(key="...")], recorder=MemoryRecorder())
    app.mount("/api/v2/aibridge", bridge)

Names are loaded when they are first used, so that importing the package (for `--help`, for one record class)
loads no HTTP client.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aibridge import providers as providers
    from aibridge.actor import Actor as Actor
    from aibridge.actor import set_actor as set_actor
    from aibridge.asking import ProviderStates as ProviderStates
    from aibridge.breaker import BreakerSettings as BreakerSettings
    from aibridge.bridge import RequestBridge as RequestBridge
    from aibridge.credentials import Secret as Secret
    from aibridge.errors import Problem as Problem
    from aibridge.errors import RecordingFailed as RecordingFailed
    from aibridge.errors import Refused as Refused
    from aibridge.link import Link as Link
    from aibridge.link import Proxy as Proxy
    from aibridge.model_names import ModelRules as ModelRules
    from aibridge.ports import Authenticator as Authenticator
    from aibridge.ports import ConversationStore as ConversationStore
    from aibridge.ports import Identity as Identity
    from aibridge.ports import Recorder as Recorder
    from aibridge.ports import Toolbox as Toolbox
    from aibridge.ports import Upstream as Upstream
    from aibridge.providers.base import Provider as Provider
    from aibridge.recorders.callback import CallbackRecorder as CallbackRecorder
    from aibridge.recorders.fan_out import FanOut as FanOut
    from aibridge.recorders.memory import MemoryRecorder as MemoryRecorder
    from aibridge.records import InterceptionRecord as InterceptionRecord
    from aibridge.records import InterceptionRecordEnded as InterceptionRecordEnded
    from aibridge.records import ModelThoughtRecord as ModelThoughtRecord
    from aibridge.records import PromptUsageRecord as PromptUsageRecord
    from aibridge.records import TokenUsageRecord as TokenUsageRecord
    from aibridge.records import ToolUsageRecord as ToolUsageRecord
    from aibridge.scope_authenticator import ScopeAuthenticator as ScopeAuthenticator
    from aibridge.tool_settings import ToolSettings as ToolSettings

__version__ = "0.1.0"

_HOMES = {
    "aibridge.actor": ("Actor", "set_actor"),
    "aibridge.asking": ("ProviderStates",),
    "aibridge.breaker": ("BreakerSettings",),
    "aibridge.bridge": ("RequestBridge",),
    "aibridge.credentials": ("Secret",),
    "aibridge.errors": ("Problem", "RecordingFailed", "Refused"),
    "aibridge.link": ("Link", "Proxy"),
    "aibridge.model_names": ("ModelRules",),
    "aibridge.ports": ("Authenticator", "ConversationStore", "Identity", "Recorder", "Toolbox", "Upstream"),
    "aibridge.providers.base": ("Provider",),
    "aibridge.recorders.callback": ("CallbackRecorder",),
    "aibridge.recorders.fan_out": ("FanOut",),
    "aibridge.recorders.memory": ("MemoryRecorder",),
    "aibridge.records": (
        "InterceptionRecord",
        "InterceptionRecordEnded",
        "ModelThoughtRecord",
        "PromptUsageRecord",
        "TokenUsageRecord",
        "ToolUsageRecord",
    ),
    "aibridge.scope_authenticator": ("ScopeAuthenticator",),
    "aibridge.tool_settings": ("ToolSettings",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", "providers", *sorted(_HOME_OF)]  # noqa: PLE0604  every item is a string, from the table


def __getattr__(name: str) -> object:
    if name == "providers":
        return import_module("aibridge.providers")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)

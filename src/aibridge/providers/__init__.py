"""The upstreams that the bridge knows. To add one: a file beside this one, and a line in `FACTORIES`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from aibridge.providers.anthropic import anthropic
from aibridge.providers.azure import azure
from aibridge.providers.base import Provider, ProviderType
from aibridge.providers.copilot import copilot
from aibridge.providers.openai import openai

__all__ = ["FACTORIES", "Provider", "ProviderType", "anthropic", "azure", "copilot", "openai"]

FACTORIES: Mapping[ProviderType, Callable[..., Provider]] = MappingProxyType(
    {"anthropic": anthropic, "openai": openai, "copilot": copilot}
)

"""Providers out of the configuration: their keys are read here, once, at the start."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from aibridge.breaker import BreakerSettings
from aibridge.credentials import Secret
from aibridge.providers import FACTORIES, Provider, azure
from aibridge.server.config import Configuration, ProviderTable, Wrong
from aibridge.server.config.values import Unresolved, resolved
from aibridge.server.configured_bedrock import configured_bedrock
from aibridge.server.configured_links import configured_link
from aibridge.server.configured_vertex import configured_vertex

_TAKEN_OVER = (
    "max_retries",
    "upstream_user",
    "send_actor_headers",
    "allow_byok",
    "enabled",
    "ask_usage",
    "offer_tools",
    "connect_timeout",
    "first_byte_timeout",
    "blocking_first_byte_timeout",
    "stall_timeout",
    "fallback",
)


def configured_providers(configuration: Configuration, environ: Mapping[str, str] = os.environ) -> list[Provider]:
    """Raises: Wrong."""
    providers = [_provider(configuration, index, environ) for index in range(len(configuration.settings.providers))]
    by_name = {provider.name: provider for provider in providers}
    for index, provider in enumerate(providers):
        try:
            provider.fallback_among(by_name)
        except ValueError as error:
            raise Wrong(f"{configuration.place(('providers', index, 'fallback'))}: {error}") from None
    return providers


def _provider(configuration: Configuration, index: int, environ: Mapping[str, str]) -> Provider:
    table = configuration.settings.providers[index]
    settings: dict[str, Any] = {name: getattr(table, name) for name in _TAKEN_OVER}
    settings["aliases"] = table.models
    settings["circuit_breaker"] = _breaker(table)
    if table.bedrock is not None or table.vertex is not None:
        provider = _on_platform(configuration, index, table, settings, environ)
    else:
        provider = _with_keys(configuration, index, table, settings, environ)
    if not table.enabled:  # what is switched off may lack its files, too
        return provider
    return replace(provider, link=configured_link(configuration, index, provider.base_url, environ))


def _with_keys(
    configuration: Configuration, index: int, table: ProviderTable, settings: dict[str, Any], environ: Mapping[str, str]
) -> Provider:
    if table.base_url is not None:
        settings["base_url"] = table.base_url
    try:
        keys = _keys(table, configuration, environ)
        make = FACTORIES[table.type] if table.azure is None else partial(_azure, table)
        return make(name=table.instance, keys=keys, **settings)
    except Unresolved as error:
        raise Wrong(f"{configuration.place(('providers', index, 'keys'))}: {error}") from None
    except ValueError as error:
        raise Wrong(f"{configuration.place(('providers', index))}: {error}") from None


def _on_platform(
    configuration: Configuration, index: int, table: ProviderTable, settings: dict[str, Any], environ: Mapping[str, str]
) -> Provider:
    name, base = table.instance, configuration.base
    asked_for = configuration.sources.get(("providers", index, "type")) != "default"
    platform = "bedrock" if table.bedrock is not None else "vertex"
    try:
        if table.bedrock is not None:
            return configured_bedrock(table.bedrock, name, settings, environ, base, asked_for=asked_for)
        assert table.vertex is not None
        return configured_vertex(table.vertex, name, settings, environ, base)
    except ValueError as error:
        raise Wrong(f"{configuration.place(('providers', index, platform))}: {error}") from None


def _azure(table: ProviderTable, **settings: Any) -> Provider:
    """Raises: ValueError."""
    assert table.azure is not None
    if table.type != "openai":
        raise ValueError("azure is for providers of the type openai")
    if table.base_url is None:
        raise ValueError("base_url is required: the endpoint of the resource at Azure")
    return azure(api_version=table.azure.api_version, deployments=table.azure.deployments, **settings)


def _keys(table: ProviderTable, configuration: Configuration, environ: Mapping[str, str]) -> tuple[Secret, ...]:
    if not table.enabled:  # what is switched off may lack its keys
        return ()
    return tuple(resolved(key, environ, configuration.base) for key in table.keys)


def _breaker(table: ProviderTable) -> BreakerSettings | None:
    breaker = table.circuit_breaker
    if breaker is None or not breaker.enabled:
        return None
    return BreakerSettings(**breaker.model_dump(exclude={"enabled"}))

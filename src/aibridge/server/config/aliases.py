"""Environment names of Coder's AI Bridge, for people who move over. Only where the option exists here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

PREFIXES = ("CODER_AIBRIDGE_", "CODER_AI_GATEWAY_")

Path = tuple[str | int, ...]

_PLAIN: dict[str, Path] = {
    "RETENTION": ("database", "retention"),
    "MAX_CONCURRENCY": ("server", "max_concurrency"),
}
# For all providers together; they apply to those that the environment or the file names.
_OF_EVERY_PROVIDER: dict[str, tuple[str, ...]] = {
    "ALLOW_BYOK": ("allow_byok",),
    "CIRCUIT_BREAKER_ENABLED": ("circuit_breaker", "enabled"),
    "CIRCUIT_BREAKER_FAILURE_THRESHOLD": ("circuit_breaker", "failure_threshold"),
    "CIRCUIT_BREAKER_INTERVAL": ("circuit_breaker", "interval"),
    "CIRCUIT_BREAKER_TIMEOUT": ("circuit_breaker", "timeout"),
    "CIRCUIT_BREAKER_MAX_REQUESTS": ("circuit_breaker", "max_requests"),
}
_SINGLE = re.compile(r"(ANTHROPIC|OPENAI)_(KEY|BASE_URL)")
_INDEXED = re.compile(r"PROVIDER_(\d+)_(TYPE|NAME|KEYS?|BASE_URL)")
_ACTOR_HEADERS = {"id": "X-AI-Bridge-Actor-ID", "username": "X-AI-Bridge-Actor-Metadata-Username"}
_MCP = re.compile(r"CODER_EXTERNAL_AUTH_(\d+)_(ID|MCP_URL|MCP_TOOL_ALLOW_REGEX|MCP_TOOL_DENY_REGEX)")
_MCP_KEYS = {"ID": "name", "MCP_URL": "url", "MCP_TOOL_ALLOW_REGEX": "allow_tools", "MCP_TOOL_DENY_REGEX": "deny_tools"}


def providers_of(environ: Mapping[str, str]) -> list[tuple[dict[str, str], dict[str, str]]]:
    """The providers that the aliases configure, each with the variable that every key came from."""
    found: dict[tuple[int, str], tuple[dict[str, str], dict[str, str]]] = {}
    for variable, short, value in _named(environ):
        if single := _SINGLE.fullmatch(short):
            slot, key = (-1, single[1].lower()), single[2]
            table, sources = found.setdefault(slot, ({"type": slot[1]}, {"type": variable}))
        elif indexed := _INDEXED.fullmatch(short):
            slot, key = (int(indexed[1]), ""), indexed[2]
            table, sources = found.setdefault(slot, ({}, {}))
        else:
            continue
        member = {"KEY": "keys", "KEYS": "keys"}.get(key, key.lower())
        table[member], sources[member] = value, variable
    return [found[slot] for slot in sorted(found)]


def settings_of(environ: Mapping[str, str]) -> Iterator[tuple[Path, str, str]]:
    """(path, value, variable) of the settings outside providers."""
    for variable, short, value in _named(environ):
        if short in _PLAIN:
            yield _PLAIN[short], value, variable
    for variable in sorted(environ):
        if (found := _MCP.fullmatch(variable)) and f"CODER_EXTERNAL_AUTH_{found[1]}_MCP_URL" in environ:
            yield ("mcp_servers", int(found[1]), _MCP_KEYS[found[2]]), environ[variable], variable


def provider_settings_of(environ: Mapping[str, str]) -> Iterator[tuple[tuple[str, ...], object, str]]:
    """(path below a provider, value, variable) of the settings that hold for every provider."""
    for variable, short, value in _named(environ):
        if short in _OF_EVERY_PROVIDER:
            yield _OF_EVERY_PROVIDER[short], value, variable
        elif short == "SEND_ACTOR_HEADERS" and value.strip().lower() in ("1", "true", "yes", "on"):
            yield ("send_actor_headers",), _ACTOR_HEADERS, variable


def _named(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for variable in sorted(environ):
        for prefix in PREFIXES:
            if variable.startswith(prefix):
                yield variable, variable[len(prefix) :], environ[variable]

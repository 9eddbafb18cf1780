"""Environment names of Coder's AI Bridge, for people who move over. Only where the option exists here.

Names that are not known are left alone: they are not ours to judge.
"""

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
# Options that there will be; set, they are said to have no effect yet.
_UNBUILT = frozenset({"RATE_LIMIT", "STRUCTURED_LOGGING"})
_BEDROCK = {
    "BEDROCK_REGION": "region",
    "BEDROCK_BASE_URL": "base_url",
    "BEDROCK_ACCESS_KEY": "access_key",
    "BEDROCK_ACCESS_KEY_SECRET": "secret_key",
    "BEDROCK_SESSION_TOKEN": "session_token",
    "BEDROCK_ROLE_ARN": "role_arn",
    "BEDROCK_MODEL": "model",
    "BEDROCK_SMALL_FAST_MODEL": "small_fast_model",
    "BEDROCK_SMALL_FASTMODEL": "small_fast_model",
}
_SINGLE = re.compile(r"(ANTHROPIC|OPENAI)_(KEY|BASE_URL)")
_INDEXED = re.compile(r"PROVIDER_(\d+)_(TYPE|NAME|KEYS?|BASE_URL)")
_ACTOR_HEADERS = {"id": "X-AI-Bridge-Actor-ID", "username": "X-AI-Bridge-Actor-Metadata-Username"}
_MCP = re.compile(r"CODER_EXTERNAL_AUTH_(\d+)_(MCP_URL|MCP_TOOL_ALLOW_REGEX|MCP_TOOL_DENY_REGEX)")
_MCP_KEYS = {"MCP_URL": "url", "MCP_TOOL_ALLOW_REGEX": "allow_tools", "MCP_TOOL_DENY_REGEX": "deny_tools"}


def providers_of(environ: Mapping[str, str]) -> list[tuple[dict[str, object], dict[str, str]]]:
    """The providers that the aliases configure, each with the variable that every key came from."""
    found: dict[tuple[int, str], tuple[dict[str, object], dict[str, str]]] = {}
    for variable, short, value in _named(environ):
        if single := _SINGLE.fullmatch(short):
            table, sources = _of_type(found, single[1].lower(), variable)
            key = single[2]
        elif short in _BEDROCK:
            table, sources = _of_type(found, "anthropic", variable)
            bedrock = table.setdefault("bedrock", {})
            assert isinstance(bedrock, dict)
            bedrock[_BEDROCK[short]] = value
            sources["bedrock"] = variable
            continue
        elif indexed := _INDEXED.fullmatch(short):
            table, sources = found.setdefault((int(indexed[1]), ""), ({}, {}))
            key = indexed[2]
        else:
            continue
        member = "keys" if key == "KEY" else key.lower()
        table[member], sources[member] = value, variable
    return [found[slot] for slot in sorted(found)]


def settings_of(environ: Mapping[str, str]) -> Iterator[tuple[Path, str, str]]:
    """(path, value, variable) of the settings outside providers."""
    for variable, short, value in _named(environ):
        if short in _PLAIN:
            yield _PLAIN[short], value, variable
    for variable in sorted(environ):
        group = f"CODER_EXTERNAL_AUTH_{found[1]}" if (found := _MCP.fullmatch(variable)) else ""
        if found is None or f"{group}_MCP_URL" not in environ:
            continue
        if found[2] == "MCP_URL":
            name = environ.get(f"{group}_ID") or environ.get(f"{group}_TYPE") or f"external-auth-{found[1]}"
            yield ("mcp_servers", int(found[1]), "name"), _as_name(name), variable
        yield ("mcp_servers", int(found[1]), _MCP_KEYS[found[2]]), environ[variable], variable


def unbuilt_in(environ: Mapping[str, str]) -> list[str]:
    """The variables that name what is not built yet."""
    return [variable for variable, short, _ in _named(environ) if short in _UNBUILT]


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


def _of_type(
    found: dict[tuple[int, str], tuple[dict[str, object], dict[str, str]]], kind: str, variable: str
) -> tuple[dict[str, object], dict[str, str]]:
    """The one provider of a type that is configured without an index."""
    return found.setdefault((-1, kind), ({"type": kind}, {"type": variable}))


def _as_name(text: str) -> str:
    """A name that servers may have, out of one that Coder takes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "external-auth"

"""What a server says about itself when it serves: where, with what, and the lines that make a client use it."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Any

from aibridge import __version__
from aibridge.providers import Provider
from aibridge.server.first_keys import FirstKeys
from aibridge.server.process import Plan

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared with, not listened on
_PLACEHOLDER = "YOUR-AIBRIDGE-KEY"
_TOKEN = "YOUR-TOKEN"  # noqa: S105  it stands for one


def say(plan: Plan, keys: FirstKeys, listening: socket.socket, scraped: Sequence[socket.socket] = ()) -> None:
    metrics = address_of(scraped[0]) if scraped else None
    print("\n".join(lines(plan, keys, address_of(listening), metrics)), flush=True)  # noqa: T201  it speaks to a person


def address_of(listening: socket.socket) -> str:
    """The URL under which this machine reaches a listening socket."""
    name: Any = listening.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{name}"
    host = _ANY.get(str(name[0]), str(name[0]))
    return f"http://[{host}]:{name[1]}" if ":" in host else f"http://{host}:{name[1]}"


def lines(plan: Plan, keys: FirstKeys, address: str, metrics: str | None = None) -> Iterator[str]:
    configuration = plan.configuration
    yield f"aibridge {__version__} serves at {address}"
    if configuration.file is not None:
        yield f"configuration  {configuration.file}"
    yield f"database       {configuration.database}"
    for provider in plan.providers:
        yield f"provider       {provider.name}: {_credentials_of(provider)}"
    if all(provider.key is None for provider in plan.providers):
        yield "               no provider key is set: callers bring their own (X-AIBridge-Token carries the key below)"
    if metrics is not None:
        yield f"metrics        {metrics}/metrics"
    if keys.admin_file is not None:
        yield f"admin key      in the file {keys.admin_file}"
    takes_keys = "key" in configuration.settings.auth.modes
    if plan.oidc is not None:
        yield f"tokens         of {plan.oidc.issuer}"
    if keys.to_paste is not None:
        yield f"key            {keys.to_paste}"
    elif takes_keys:
        yield f"key            make one with: {_create_command(plan)}"
    yield from _clients(plan.providers, keys.to_paste or (_PLACEHOLDER if takes_keys else _TOKEN), address)


def _credentials_of(provider: Provider) -> str:
    if not provider.enabled:
        return "switched off"
    if provider.key is None:
        return "no key, callers bring their own"
    own = " (or the caller's own)" if provider.allow_byok else ""
    return f"central key {provider.key.hint}{own}"


def _create_command(plan: Plan) -> str:
    config = "" if plan.configuration.file is None else f" --config {plan.configuration.file}"
    return f"aibridge keys create --name laptop{config}"


def _clients(providers: tuple[Provider, ...], key: str, address: str) -> Iterator[str]:
    enabled = [provider for provider in providers if provider.enabled]
    for provider in enabled:
        if provider.type == "anthropic":
            yield ""
            yield "Claude Code:"
            yield f"  export ANTHROPIC_BASE_URL={address}/{provider.name}"
            if provider.key is None:
                yield f"  export ANTHROPIC_CUSTOM_HEADERS='X-AIBridge-Token: {key}'"
            else:
                yield f"  export ANTHROPIC_AUTH_TOKEN={key}"
            break
    for provider in enabled:
        if provider.type == "openai":
            yield ""
            yield "OpenAI's SDKs:"
            yield f"  export OPENAI_BASE_URL={address}/{provider.name}/v1"
            if provider.key is None:
                yield f"  # and the header X-AIBridge-Token: {key}"
            else:
                yield f"  export OPENAI_API_KEY={key}"
            break

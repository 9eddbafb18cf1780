"""What the API answers, as types: answers are made through them, and the OpenAPI document is made of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from aibridge.mcp.status import ServerStatus
from aibridge.server.reading import Page


class Initiator(msgspec.Struct, frozen=True):
    """Whose interception it is."""

    id: str
    username: str | None


class TokenUsage(msgspec.Struct, frozen=True):
    """What one upstream answer cost. `model` is the one that answered; null where the provider did not say.

    `cost` is in micro-dollars; null where the price is not known.
    """

    id: str
    provider_response_id: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    extra: dict[str, Any]
    partial: bool
    model: str | None
    cost: int | None
    created_at: datetime


class UserPrompt(msgspec.Struct, frozen=True):
    """What the person wrote."""

    id: str
    provider_response_id: str | None
    prompt: str
    created_at: datetime


class ToolUsage(msgspec.Struct, frozen=True):
    """A tool that the model called. `injected`: one of ours, not the client's own."""

    id: str
    provider_response_id: str | None
    tool_call_id: str | None
    tool: str
    input: Any
    injected: bool
    server_url: str | None
    invocation_error: str | None
    created_at: datetime


class ModelThought(msgspec.Struct, frozen=True):
    """What the model said about its thinking."""

    id: str
    content: str
    source: str
    created_at: datetime


class Interception(msgspec.Struct, frozen=True):
    """One bridged client request with all that was recorded of it."""

    id: str
    initiator: Initiator
    provider: str
    provider_name: str
    model: str
    client: str
    metadata: dict[str, str]
    started_at: datetime
    ended_at: datetime | None
    state: str
    dialect: str
    route: str
    streaming: bool
    http_status: int | None
    error_type: str | None
    error_message: str | None
    time_to_first_byte: float | None
    credential_kind: str
    credential_hint: str
    served_by: str | None
    upstream_user: str | None
    user_agent: str | None
    client_session_id: str | None
    session_id: str
    agent_id: str | None
    parent_agent_id: str | None
    thread_parent_id: str | None
    thread_root_id: str | None
    correlating_tool_call_id: str | None
    token_usages: list[TokenUsage]
    user_prompts: list[UserPrompt]
    tool_usages: list[ToolUsage]
    model_thoughts: list[ModelThought]
    cost: int | None


class Interceptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """One page, newest first. `count` is how many there are on all pages; null where that took too long to count.

    `next_after_id` is what to send as `after_id` for the next page; the last has none. A page is shorter than its
    limit where prompts, arguments and thoughts are long.
    """

    count: int | None
    results: list[Interception]
    next_after_id: str | None = None


class CoolingModel(msgspec.Struct, frozen=True):
    """A model for which a key rests, and for how long. Null: requests that name no model."""

    model: str | None
    seconds: float


class ProviderKey(msgspec.Struct, frozen=True):
    """A central key. `seconds` is how long its state lasts at most; null for `usable`."""

    hint: str
    state: Literal["usable", "cooling", "refused"]
    seconds: float | None
    cooling: list[CoolingModel]


class Circuit(msgspec.Struct, frozen=True):
    """A circuit that is not closed."""

    endpoint: str
    model: str
    state: Literal["closed", "half_open", "open"]


class ProviderStatus(msgspec.Struct, frozen=True):
    """A provider as this process knows it. `base_url`, `keys` and `circuits` are null for members."""

    name: str
    type: str
    platform: str | None
    health: Literal["off", "ok", "impaired"]
    allow_byok: bool
    circuit_breaker: bool
    max_retries: int
    base_url: str | None
    keys: list[ProviderKey] | None
    circuits: list[Circuit] | None


class Configuration(msgspec.Struct, frozen=True):
    """The configuration of the process that answered. `fault` is why it did not take over what it read last.

    `needs_restart` are settings that were changed, and hold from the next start on.
    """

    loaded_at: datetime
    fault: str | None
    failed_at: datetime | None
    needs_restart: list[str]


class Providers(msgspec.Struct, frozen=True):
    """All providers. `process` is the id of the process that answered: each knows its own keys and circuits.

    Null where no server was asked. `configuration` is null for members.
    """

    process: int | None
    results: list[ProviderStatus]
    configuration: Configuration | None = None


class McpServers(msgspec.Struct, frozen=True):
    """The MCP servers whose tools are offered, as the process that answers has them."""

    results: list[ServerStatus]


class Problem(msgspec.Struct, frozen=True):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


def interception(found: dict[str, Any]) -> Interception:
    return msgspec.convert(found, Interception)


def interceptions(page: Page) -> Interceptions:
    return Interceptions(page.count, msgspec.convert(page.results, list[Interception]), page.next_after_id)

"""The facts that are kept. A record is never changed after the fact; times are UTC, ids are UUIDv7 text.

Six kinds, one class each. Who keeps them is a `Recorder` (see `ports.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

CredentialKind = Literal["centralized", "byok"]
State = Literal[
    "completed",  # the client was handed the terminal event
    "client_gone",  # the client hung up before it
    "upstream_error",  # the provider refused, failed or broke off
    "upstream_stalled",  # the provider went silent past its deadline
    "gateway_aborted",  # we stopped: shutdown, or the record could not be kept
    "rejected",  # refused by a rule of ours; the provider was not asked
    "recovered",  # was open when its process died; ended at the next start
]
JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


class InterceptionRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One bridged client request has begun. Durable before the provider is asked."""

    id: str
    initiator_id: str
    metadata: Mapping[str, str] = msgspec.field(default_factory=dict)
    model: str
    provider: str  # the type: anthropic, openai, copilot
    provider_name: str  # the configured instance
    dialect: str
    route: str  # the template, such as /v1/messages
    streaming: bool
    started_at: datetime
    client: str
    client_session_id: str | None = None
    agent_id: str | None = None
    parent_agent_id: str | None = None
    user_agent: str | None = None
    correlating_tool_call_id: str | None = None
    credential_kind: CredentialKind
    credential_hint: str
    upstream_user: str | None = None


class InterceptionRecordEnded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An interception is over. Durable before the client is handed the last event."""

    interception_id: str
    ended_at: datetime
    state: State
    http_status: int | None = None  # what the client was answered; None: nothing was sent
    error_type: str | None = None
    error_message: str | None = None  # at most 1 KiB, secrets scrubbed
    time_to_first_byte: float | None = None  # seconds from the start to the first body byte from upstream
    credential_hint: str | None = None  # of the key that served
    served_by: str | None = None  # the fallback that did; None: the provider of the start


class TokenUsageRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one upstream response used. `input_tokens` never contains cached tokens."""

    id: str
    interception_id: str
    provider_response_id: str | None
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    extra: Mapping[str, int | str] = msgspec.field(default_factory=dict)
    partial: bool = False  # the stream ended before the final numbers came
    model: str | None = None  # that answered, as the provider calls it: an alias may have been asked for
    created_at: datetime


class PromptUsageRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The person's last words in one request; at most one an interception."""

    id: str
    interception_id: str
    provider_response_id: str | None
    prompt: str
    created_at: datetime


class ToolUsageRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One tool call that the model made."""

    id: str
    interception_id: str
    provider_response_id: str | None
    tool_call_id: str | None
    tool: str
    input: JsonValue = None  # parsed arguments; None: blank; a string: they were no JSON
    injected: bool = False
    server_url: str | None = None
    invocation_error: str | None = None
    created_at: datetime


class ModelThoughtRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A piece of the model's reasoning that the provider let us see."""

    id: str
    interception_id: str
    content: str
    source: str  # thinking, reasoning_summary, commentary, reasoning
    created_at: datetime


AnyRecord = (
    InterceptionRecord
    | InterceptionRecordEnded
    | TokenUsageRecord
    | PromptUsageRecord
    | ToolUsageRecord
    | ModelThoughtRecord
)

"""Records as rows of the five tables. Runs in the writer thread; everything that a record may hold becomes a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aibridge.database.moments import as_text
from aibridge.database.statements import Row, Statement, insert
from aibridge.recorders.text import clean, cut, json_of, name
from aibridge.records import (
    InterceptionRecord,
    InterceptionRecordEnded,
    ModelThoughtRecord,
    PromptUsageRecord,
    TokenUsageRecord,
    ToolUsageRecord,
)

INTERCEPTION = insert(
    "aibridge_interceptions",
    "id boot_id initiator_id metadata model provider provider_name dialect route streaming started_at client "
    "client_session_id agent_id parent_agent_id user_agent correlating_tool_call_id credential_kind "
    "credential_hint upstream_user session_id",
    rank=0,
)
_USAGE = "id interception_id provider_response_id"
TOKEN_USAGE = insert(
    "aibridge_token_usages",
    f"{_USAGE} input_tokens output_tokens cache_read_tokens cache_write_tokens extra partial model created_at",
    rank=1,
)
PROMPT = insert("aibridge_user_prompts", f"{_USAGE} prompt created_at", rank=1, content=True)
TOOL_USAGE = insert(
    "aibridge_tool_usages",
    f"{_USAGE} initiator_id tool_call_id tool input injected server_url invocation_error created_at",
    rank=1,
    content=True,
)
THOUGHT = insert("aibridge_model_thoughts", "id interception_id content source created_at", rank=1, content=True)
# The end that came first stays. Only what recovery made up gives way, and to a real end only.
ENDED = Statement(
    name="aibridge_interceptions",
    before="""
        UPDATE aibridge_interceptions
        SET ended_at = e.column2, state = e.column3, http_status = e.column4, error_type = e.column5,
            error_message = e.column6, time_to_first_byte = e.column7,
            credential_hint = coalesce(e.column8, credential_hint), served_by = e.column9
        FROM (VALUES""",
    columns=9,
    after="""
        ) AS e
        WHERE aibridge_interceptions.id = e.column1
          AND (ended_at IS NULL OR (state = 'recovered' AND e.column3 <> 'recovered'))""",
    rank=2,
)

_MESSAGE_LIMIT = 1024  # bytes of an error's text
_LARGEST_COUNT = 2**53 - 1  # what JavaScript counts exactly; sums of such numbers stay within 64 bits


@dataclass(frozen=True, slots=True)
class Limits:
    """How much content is kept, in bytes of UTF-8."""

    each: int = 1024 * 1024
    per_interception: int = 16 * 1024 * 1024

    def __post_init__(self) -> None:
        if self.each < 64 or self.per_interception < self.each:
            raise ValueError("recording limits: `each` is at least 64 bytes, and `per_interception` at least `each`")


@dataclass(slots=True)
class Allowance:
    """What is left of one interception's content. Belongs to the writer thread."""

    limits: Limits
    left: int

    def taken(self, text: str) -> str:
        """`text` as far as it may be kept."""
        kept = cut(text, min(self.limits.each, self.left))
        self.left -= len(kept) if kept.isascii() else len(kept.encode())
        return kept


def interception(record: InterceptionRecord, boot_id: str) -> Row:
    session = name(record.client_session_id)
    return (
        record.id,
        boot_id,
        clean(record.initiator_id),
        _short_values(record.metadata),
        name(record.model),
        record.provider,
        record.provider_name,
        record.dialect,
        record.route,
        record.streaming,
        as_text(record.started_at),
        name(record.client),
        session,
        name(record.agent_id),
        name(record.parent_agent_id),
        name(record.user_agent),
        name(record.correlating_tool_call_id),
        record.credential_kind,
        name(record.credential_hint),
        name(record.upstream_user),
        # A parent, found later, may make its root the session; without one this is what stays.
        session or record.id,
    )


def ended(record: InterceptionRecordEnded) -> Row:
    return (
        record.interception_id,
        as_text(record.ended_at),
        record.state,
        record.http_status,
        name(record.error_type),
        None if record.error_message is None else cut(clean(record.error_message), _MESSAGE_LIMIT),
        record.time_to_first_byte,
        name(record.credential_hint),
        record.served_by,
    )


def token_usage(record: TokenUsageRecord) -> Row:
    return (
        record.id,
        record.interception_id,
        name(record.provider_response_id),
        _count(record.input_tokens),
        _count(record.output_tokens),
        _count(record.cache_read_tokens),
        _count(record.cache_write_tokens),
        _short_values(record.extra),
        record.partial,
        name(record.model),
        as_text(record.created_at),
    )


def prompt(record: PromptUsageRecord, allowance: Allowance) -> Row:
    return (
        record.id,
        record.interception_id,
        name(record.provider_response_id),
        allowance.taken(clean(record.prompt)),
        as_text(record.created_at),
    )


def tool_usage(record: ToolUsageRecord, allowance: Allowance, initiator_id: str | None, arguments: str | None) -> Row:
    """`arguments` are `record.input` as JSON, or None where they are not kept."""
    return (
        record.id,
        record.interception_id,
        name(record.provider_response_id),
        None if initiator_id is None else clean(initiator_id),
        name(record.tool_call_id),
        name(record.tool),
        None if arguments is None else _arguments(arguments, allowance),
        record.injected,
        name(record.server_url),
        None if record.invocation_error is None else cut(clean(record.invocation_error), _MESSAGE_LIMIT),
        as_text(record.created_at),
    )


def thought(record: ModelThoughtRecord, allowance: Allowance) -> Row:
    return (
        record.id,
        record.interception_id,
        allowance.taken(clean(record.content)),
        name(record.source),
        as_text(record.created_at),
    )


def _arguments(arguments: str, allowance: Allowance) -> str:
    kept = allowance.taken(arguments)
    # What was cut is no JSON any more: it is kept as a string, as arguments are that never were JSON.
    return kept if kept is arguments else json_of(kept)


def _short_values(values: Mapping[str, int | str]) -> str:
    """A small mapping as JSON."""
    if not values:
        return "{}"
    return json_of({str(name(key)): name(value) if isinstance(value, str) else value for key, value in values.items()})


def _count(number: int) -> int:
    """A provider may send anything; a number that no counter holds must not keep the usage out."""
    return min(max(number, 0), _LARGEST_COUNT)

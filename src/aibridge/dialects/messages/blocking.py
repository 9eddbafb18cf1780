"""A whole Messages answer: one JSON body."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aibridge.dialects.base import Fact, StoredIds, Thought, TokenUsage, ToolUse, Turn, Unreadable
from aibridge.dialects.calls import is_ours
from aibridge.dialects.messages.errors import failure
from aibridge.dialects.messages.usage import token_usage
from aibridge.dialects.reading import decoded, mapping, text
from aibridge.dialects.reply import WholeAnswer
from aibridge.wire.json_body import outermost

_MOST_UNREADABLE = 1024 * 1024  # bytes that are looked through; more than a model says in one answer
TOOL_BLOCKS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def read_body(body: bytes, *, hiding: bool = False) -> WholeAnswer:
    """Facts of a `message` object; a body of another shape is unreadable and passes all the same.

    `hiding`: calls of injected tools are somebody else's to tell.
    """
    message = decoded(body)
    if isinstance(message, dict) and message.get("type") == "error":
        error_type, error_message = failure(message)
        return WholeAnswer(Turn(outcome="failed", error_type=error_type, error_message=error_message))
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        unreadable = Unreadable("the answer is no message object")
        return WholeAnswer(Turn(outcome="complete"), (unreadable, *_usage_at_least(body)))
    response_id = text(message.get("id")) or None
    facts: list[Fact] = []
    blocks = [block for block in message["content"] if isinstance(block, dict)]
    stored = [*container_ids(message), *(one for block in blocks for one in file_ids(block))]
    if stored:
        facts.append(StoredIds(tuple(dict.fromkeys(stored))))
    thoughts = (text(block.get("thinking")) for block in blocks if block.get("type") == "thinking")
    facts += (Thought(content=thought, source="thinking") for thought in thoughts if thought)
    calls = (block for block in blocks if text(block.get("type")) in TOOL_BLOCKS)
    facts += (_tool_use(block, response_id) for block in calls if not (hiding and _ours(block)))
    if isinstance(message.get("usage"), dict):
        facts.append(token_usage(message["usage"], response_id, model=message.get("model"), partial=False))
    return WholeAnswer(Turn(outcome="complete", response_id=response_id), tuple(facts))


def _usage_at_least(body: bytes) -> Iterator[TokenUsage]:
    """What a message used whose content cannot be decoded: a model can be asked to nest a call's input so deeply."""
    found = outermost(body) if len(body) <= _MOST_UNREADABLE else {}
    usage = decoded(found.get("usage"))
    if isinstance(usage, dict):
        response_id = text(decoded(found.get("id"))) or None
        yield token_usage(usage, response_id, model=decoded(found.get("model")), partial=False)


def container_ids(holder: Mapping[str, Any]) -> list[str]:
    """The code execution container that a message, or the delta of one, names: it outlives the request."""
    found = text(mapping(holder.get("container")).get("id"))
    return [found] if found else []


def file_ids(block: Mapping[str, Any]) -> list[str]:
    """The files that code wrote at the provider, in the block of its result: a later request may name them."""
    written = mapping(block.get("content")).get("content")
    parts = written if isinstance(written, list) else []
    return [found for part in parts if (found := text(mapping(part).get("file_id")))]


def _ours(block: Mapping[str, Any]) -> bool:
    return block.get("type") == "tool_use" and is_ours(text(block.get("name")))


def _tool_use(block: Mapping[str, Any], response_id: str | None) -> ToolUse:
    return ToolUse(
        response_id=response_id,
        call_id=text(block.get("id")) or None,
        tool=text(block.get("name")),
        input=block.get("input"),
    )

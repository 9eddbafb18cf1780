"""A whole Messages answer: one JSON body."""

from __future__ import annotations

from typing import Any

from aibridge.dialects.base import Fact, StoredIds, Thought, ToolUse, Turn, Unreadable
from aibridge.dialects.messages.usage import token_usage
from aibridge.dialects.reading import decoded
from aibridge.dialects.reply import WholeAnswer

TOOL_BLOCKS = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def read_body(body: bytes) -> WholeAnswer:
    """Facts of a `message` object; a body of another shape is unreadable and passes all the same."""
    message = decoded(body)
    if not isinstance(message, dict) or not isinstance(message.get("content"), list):
        return WholeAnswer(Turn(outcome="complete"), (Unreadable("the answer is no message object"),))
    response_id = message.get("id") if isinstance(message.get("id"), str) else None
    facts: list[Fact] = []
    if (container := container_id(message.get("container"))) is not None:
        facts.append(StoredIds((container,)))
    blocks = [block for block in message["content"] if isinstance(block, dict)]
    facts += (
        Thought(content=block["thinking"], source="thinking")
        for block in blocks
        if block.get("type") == "thinking" and isinstance(block.get("thinking"), str) and block["thinking"]
    )
    facts += (_tool_use(block, response_id) for block in blocks if block.get("type") in TOOL_BLOCKS)
    if isinstance(message.get("usage"), dict):
        facts.append(token_usage(message["usage"], response_id, partial=False))
    return WholeAnswer(Turn(outcome="complete", response_id=response_id), tuple(facts))


def container_id(container: Any) -> str | None:
    """The id of the code execution container that a message names, if it does."""
    found = container.get("id") if isinstance(container, dict) else None
    return found if isinstance(found, str) else None


def _tool_use(block: dict[str, Any], response_id: str | None) -> ToolUse:
    call_id = block.get("id")
    return ToolUse(
        response_id=response_id,
        call_id=call_id if isinstance(call_id, str) else None,
        tool=str(block.get("name", "")),
        input=block.get("input"),
    )

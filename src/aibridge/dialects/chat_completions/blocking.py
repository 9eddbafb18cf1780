"""A whole chat answer: one JSON body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aibridge.dialects.base import Fact, StoredIds, Thought, Turn, Unreadable
from aibridge.dialects.chat_completions.calls import Calls
from aibridge.dialects.chat_completions.usage import token_usage
from aibridge.dialects.openai_errors import describe
from aibridge.dialects.reading import Kept, decoded, mapping, text
from aibridge.dialects.reply import WholeAnswer

# DeepSeek's name, then OpenRouter's and vLLM's, then GitHub Copilot's. Who sends two sends the same text twice.
_REASONING = ("reasoning_content", "reasoning", "reasoning_text")


def read_body(body: bytes, *, stored: bool) -> WholeAnswer:
    """Facts of a completion object; a body of another shape is unreadable and passes all the same."""
    completion = mapping(decoded(body))
    choices, error = completion.get("choices"), completion.get("error")
    if not error and not isinstance(choices, list):
        return WholeAnswer(Turn(outcome="complete"), (Unreadable("the answer is no completion object"),))
    response_id = text(completion.get("id")) or None
    facts: list[Fact] = []
    if stored and response_id is not None:
        facts.append(StoredIds((response_id,)))
    calls = Calls(Kept())
    for number, choice in enumerate(choices if isinstance(choices, list) else ()):
        message = mapping(mapping(choice).get("message"))
        if content := reasoning(message):
            facts.append(Thought(content=content, source="reasoning"))
        calls.add(number, message, whole=True)
    facts += calls.take(response_id)
    if usage := mapping(completion.get("usage")):
        facts.append(token_usage(usage, response_id, tier=completion.get("service_tier"), partial=bool(error)))
    if not error:
        return WholeAnswer(Turn(outcome="complete", response_id=response_id), tuple(facts))
    # An error under status 200, as aggregators answer when the provider behind them failed.
    kind, what = describe(error)
    turn = Turn(outcome="failed", response_id=response_id, error_type=kind, error_message=what)
    return WholeAnswer(turn, tuple(facts))


def reasoning(found: Mapping[str, Any]) -> str:
    """The reasoning in a message or a delta, "" without any."""
    return next((found[name] for name in _REASONING if text(found.get(name))), "")

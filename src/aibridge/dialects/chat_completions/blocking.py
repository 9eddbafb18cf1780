"""A whole chat answer: one JSON body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aibridge.dialects.base import Fact, StoredIds, Thought, Turn, Unreadable
from aibridge.dialects.chat_completions.calls import Called, Calls
from aibridge.dialects.chat_completions.usage import token_usage
from aibridge.dialects.openai_errors import describe
from aibridge.dialects.reading import Kept, decoded, mapping, text
from aibridge.dialects.reply import WholeAnswer

# DeepSeek's name, then OpenRouter's and vLLM's, then GitHub Copilot's. Who sends two sends the same text twice.
_REASONING = ("reasoning_content", "reasoning", "reasoning_text")


@dataclass(frozen=True, slots=True)
class Completion:
    """What a completion object says."""

    answer: WholeAnswer
    calls: Sequence[Called] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)


def read_body(body: bytes, *, stored: bool) -> WholeAnswer:
    """Facts of a completion object; a body of another shape is unreadable and passes all the same."""
    return read_completion(body, stored=stored).answer


def read_completion(body: bytes, *, stored: bool, ours_apart: bool = False) -> Completion:
    """The same with all calls and the usage; calls of ours may be told by somebody else."""
    completion = mapping(decoded(body))
    choices, error = completion.get("choices"), completion.get("error")
    if completion.get("object") == "error":
        error = error or completion  # vLLM's, without an `error` around it
    if not error and not isinstance(choices, list):
        unreadable = Unreadable("the answer is no completion object")
        return Completion(WholeAnswer(Turn(outcome="complete"), (unreadable,)))
    response_id = text(completion.get("id")) or None
    facts: list[Fact] = []
    if stored and response_id is not None:
        facts.append(StoredIds((response_id,)))
    pieces = Calls(Kept())
    for number, choice in enumerate(choices if isinstance(choices, list) else ()):
        message = mapping(mapping(choice).get("message"))
        if content := reasoning(message):
            facts.append(Thought(content=content, source="reasoning"))
        pieces.add(number, message, whole=True)
    calls = pieces.take()
    facts += (call.use(response_id) for call in calls if not (ours_apart and call.ours))
    if usage := mapping(completion.get("usage")):
        model, tier = completion.get("model"), completion.get("service_tier")
        facts.append(token_usage(usage, response_id, model=model, tier=tier, partial=bool(error)))
    turn = Turn(outcome="complete", response_id=response_id)
    if error:
        # An error under status 200, as aggregators answer when the provider behind them failed.
        kind, what = describe(error)
        turn = Turn(outcome="failed", response_id=response_id, error_type=kind, error_message=what)
    return Completion(WholeAnswer(turn, tuple(facts)), calls, usage)


def reasoning(found: Mapping[str, Any]) -> str:
    """The reasoning in a message or a delta, "" without any."""
    return next((found[name] for name in _REASONING if text(found.get(name))), "")

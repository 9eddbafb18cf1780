"""Word a plan as a chat completion object."""

from aibridge.server.demo.simulator.chat_completions.reading import known_tokens
from aibridge.server.demo.simulator.exchange import Ids
from aibridge.server.demo.simulator.json_values import JsonObject, as_count, as_text, compact
from aibridge.server.demo.simulator.openai_cache import cached_tokens
from aibridge.server.demo.simulator.plan import Plan, Speech, Thought
from aibridge.server.demo.simulator.tokens import tokens, tokens_of_size
from aibridge.server.demo.simulator.tool_choice import Call

_MOST_CHOICES = 8  # OpenAI allows 128; a simulated answer is the same each time


def completion_of(plan: Plan, body: JsonObject, size: int, *, ids: Ids, created: int) -> dict[str, object]:
    count = min(max(as_count(body.get("n")) or 1, 1), _MOST_CHOICES)
    return {
        "id": ids("chatcmpl-"),
        "object": "chat.completion",
        "created": created,
        "model": as_text(body.get("model")),
        "choices": [_choice(plan, index, ids) for index in range(count)],
        "usage": _usage(plan, body, size, count),
        "service_tier": "default",
        "system_fingerprint": "fp_simulated",
    }


def _choice(plan: Plan, index: int, ids: Ids) -> dict[str, object]:
    said = [part.text for part in plan.parts if isinstance(part, Speech) and not part.commentary]
    message: dict[str, object] = {
        "role": "assistant",
        "content": "\n\n".join(said) if said else None,
        "refusal": None,
        "annotations": [],
    }
    if plan.calls:
        message["tool_calls"] = [_tool_call(call, ids) for call in plan.calls]
        finish = "tool_calls"
    else:
        finish = "length" if plan.truncated else "stop"
    return {"index": index, "message": message, "logprobs": None, "finish_reason": finish}


def _tool_call(call: Call, ids: Ids) -> dict[str, object]:
    if isinstance(call.arguments, str):
        custom = {"name": call.tool.name, "input": call.arguments}
        return {"id": ids("call_"), "type": "custom", "custom": custom}
    function = {"name": call.tool.name, "arguments": compact(call.arguments).decode()}
    return {"id": ids("call_"), "type": "function", "function": function}


def _usage(plan: Plan, body: JsonObject, size: int, count: int) -> dict[str, object]:
    total = tokens_of_size(size)
    read, _ = cached_tokens(total, known_tokens(body))
    reasoning = count * sum(tokens(part.text) for part in plan.parts if isinstance(part, Thought))
    said = sum(tokens(part.text) for part in plan.parts if isinstance(part, Speech) and not part.commentary)
    called = sum(tokens(compact([call.tool.name, call.arguments])) for call in plan.calls)
    completion = reasoning + count * (said + called)
    return {
        "prompt_tokens": total,
        "completion_tokens": completion,
        "total_tokens": total + completion,
        "prompt_tokens_details": {"cached_tokens": read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }

"""Word a plan as a Response object."""

import base64
import hashlib

from aibridge.server.demo.simulator.exchange import Ids
from aibridge.server.demo.simulator.json_values import JsonObject, as_object, as_text, compact
from aibridge.server.demo.simulator.openai_cache import cached_tokens
from aibridge.server.demo.simulator.plan import Part, Plan, Search, Speech, Thought
from aibridge.server.demo.simulator.responses.reading import known_tokens
from aibridge.server.demo.simulator.tokens import tokens, tokens_of_size
from aibridge.server.demo.simulator.tool_choice import Call

# What a Response says again from its request, and what it says when the request was silent.
_ECHOED: dict[str, object] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def response_of(
    plan: Plan, body: JsonObject, items: list[JsonObject], size: int, *, ids: Ids, created: int
) -> dict[str, object]:
    reasoning = as_object(body.get("reasoning"))
    include = body.get("include")
    sealed = isinstance(include, list) and "reasoning.encrypted_content" in include
    thinks = any(isinstance(part, Thought) for part in plan.parts)
    output = [
        item
        for part in plan.parts
        for item in _items(part, ids, summarised=reasoning.get("summary") is not None, sealed=sealed, phased=thinks)
    ]
    if plan.truncated:
        output[-1]["status"] = "incomplete"
    conversation = body.get("conversation")
    return {
        "id": ids("resp_"),
        "object": "response",
        "created_at": created,
        "status": "incomplete" if plan.truncated else "completed",
        "completed_at": None if plan.truncated else created,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if plan.truncated else None,
        "model": as_text(body.get("model")),
        "output": output,
        **{name: silent if body.get(name) is None else body[name] for name, silent in _ECHOED.items()},
        "conversation": {"id": conversation} if isinstance(conversation, str) else conversation,
        "reasoning": {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")},
        "service_tier": "default",
        "usage": usage_of(plan, body, items, size),
    }


def usage_of(plan: Plan, body: JsonObject, items: list[JsonObject], size: int) -> dict[str, object]:
    known = known_tokens(body, items)
    # What a stored response or a conversation brings was not in this request's bytes, and is paid for all the same.
    total = max(tokens_of_size(size), known)
    read, written = cached_tokens(total, known)
    reasoning = sum(tokens(part.text) for part in plan.parts if isinstance(part, Thought))
    said = sum(tokens(part.text) for part in plan.parts if isinstance(part, Speech))
    called = sum(tokens(compact([call.tool.name, call.arguments])) for call in plan.calls)
    output = reasoning + said + called
    return {
        "input_tokens": total,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": total + output,
    }


def sealed_text(text: str) -> str:
    """Something that looks like ciphertext, the same for the same text."""
    return "gAAAAA" + base64.urlsafe_b64encode(hashlib.sha512(text.encode()).digest()).decode()


def _items(part: Part, ids: Ids, *, summarised: bool, sealed: bool, phased: bool) -> list[dict[str, object]]:
    match part:
        case Thought(text):
            summary = [{"type": "summary_text", "text": text}] if summarised else []
            item: dict[str, object] = {"id": ids("rs_"), "type": "reasoning", "summary": summary}
            if sealed:
                item["encrypted_content"] = sealed_text(text)
            return [item]
        case Speech(commentary=True) if not phased:
            return []  # only the models that reason comment on what they do
        case Speech():
            return [_message(part, ids, phased=phased)]
        case Search(query):
            action = {"type": "search", "query": query, "queries": [query]}
            return [{"id": ids("ws_"), "type": "web_search_call", "status": "completed", "action": action}]
        case Call():
            return [_call(part, ids)]


def _message(speech: Speech, ids: Ids, *, phased: bool) -> dict[str, object]:
    annotations: list[dict[str, object]] = []
    if speech.cites is not None:
        annotations.append(
            {
                "type": "url_citation",
                "start_index": 0,
                "end_index": len(speech.text),
                "url": speech.cites.url,
                "title": speech.cites.title,
            }
        )
    text = {"type": "output_text", "annotations": annotations, "logprobs": [], "text": speech.text}
    message: dict[str, object] = {
        "id": ids("msg_"),
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [text],
    }
    if phased:
        message["phase"] = "commentary" if speech.commentary else "final_answer"
    return message


def _call(call: Call, ids: Ids) -> dict[str, object]:
    if isinstance(call.arguments, str):
        item: dict[str, object] = {
            "id": ids("ctc_"),
            "type": "custom_tool_call",
            "status": "completed",
            "call_id": ids("call_"),
            "name": call.tool.name,
            "input": call.arguments,
        }
    else:
        item = {
            "id": ids("fc_"),
            "type": "function_call",
            "status": "completed",
            "call_id": ids("call_"),
            "name": call.tool.name,
            "arguments": compact(call.arguments).decode(),
        }
    if call.tool.namespace is not None:
        item["namespace"] = call.tool.namespace
    return item

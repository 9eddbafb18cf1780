"""Word a plan as a Message object."""

import base64
import hashlib

from aibridge.server.demo.simulator.exchange import Ids
from aibridge.server.demo.simulator.json_values import JsonObject, as_object, as_text, compact
from aibridge.server.demo.simulator.messages.reading import Prompt
from aibridge.server.demo.simulator.plan import Part, Plan, Search, Speech, Thought
from aibridge.server.demo.simulator.tokens import tokens
from aibridge.server.demo.simulator.tool_choice import Call


def message_of(plan: Plan, body: JsonObject, prompt: Prompt, ids: Ids) -> dict[str, object]:
    shown = as_object(body.get("thinking")).get("display") != "omitted"
    content = [block for part in plan.parts for block in _blocks(part, ids, shown=shown)]
    stop = "tool_use" if plan.calls else "max_tokens" if plan.truncated else "end_turn"
    message: dict[str, object] = {
        "id": ids("msg_"),
        "type": "message",
        "role": "assistant",
        "model": as_text(body.get("model")),
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": _usage(plan, content, prompt),
    }
    if body.get("context_management") is not None:
        message["context_management"] = {"applied_edits": []}
    return message


def _usage(plan: Plan, content: list[dict[str, object]], prompt: Prompt) -> dict[str, object]:
    thought = sum(tokens(part.text) for part in plan.parts if isinstance(part, Thought))
    said = sum(tokens(_cost(block)) for block in content if block["type"] not in {"thinking", "web_search_tool_result"})
    usage: dict[str, object] = {
        "input_tokens": prompt.fresh,
        "cache_creation_input_tokens": prompt.cache_5m + prompt.cache_1h,
        "cache_read_input_tokens": prompt.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": prompt.cache_5m,
            "ephemeral_1h_input_tokens": prompt.cache_1h,
        },
        "output_tokens": thought + said,
        "output_tokens_details": {"thinking_tokens": thought},
        "service_tier": "standard",
    }
    if plan.searches:
        usage["server_tool_use"] = {"web_search_requests": plan.searches, "web_fetch_requests": 0}
    return usage


def _cost(block: JsonObject) -> bytes:
    """The part of a block that the model had to write."""
    return as_text(block.get("text")).encode() or compact([block.get("name"), block.get("input")])


def _blocks(part: Part, ids: Ids, *, shown: bool) -> list[dict[str, object]]:
    match part:
        case Thought(text):
            return [{"type": "thinking", "thinking": text if shown else "", "signature": _opaque(text)}]
        case Speech(text, cites=Search() as search):
            return [{"type": "text", "text": text, "citations": [_citation(search)]}]
        case Speech(text):
            return [{"type": "text", "text": text}]
        case Call(tool, arguments):
            return [{"type": "tool_use", "id": ids("toolu_"), "name": tool.name, "input": arguments}]
        case Search(query, url, title, found):
            call_id = ids("srvtoolu_")
            page = {
                "type": "web_search_result",
                "url": url,
                "title": title,
                "encrypted_content": _opaque(found),
                "page_age": "January 31, 2026",
            }
            return [
                {"type": "server_tool_use", "id": call_id, "name": "web_search", "input": {"query": query}},
                {"type": "web_search_tool_result", "tool_use_id": call_id, "content": [page]},
            ]


def _citation(search: Search) -> dict[str, object]:
    return {
        "type": "web_search_result_location",
        "url": search.url,
        "title": search.title,
        "cited_text": search.found,
        "encrypted_index": _opaque(search.url),
    }


def _opaque(text: str) -> str:
    """Something that looks like a signature or ciphertext, the same for the same text."""
    return base64.b64encode(hashlib.sha512(text.encode()).digest()).decode()

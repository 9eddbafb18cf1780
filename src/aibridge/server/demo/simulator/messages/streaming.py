"""Stream a Message object as the provider's events.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming. Usage comes twice: the input side with a first
small output count in ``message_start``, the cumulative counts in ``message_delta``.
"""

from collections.abc import Iterator

from aibridge.server.demo.simulator.json_values import JsonObject, as_object, as_objects, as_text, compact
from aibridge.server.demo.simulator.tokens import pieces

_FIRST_OUTPUT_TOKENS = 1


def events_of(message: JsonObject) -> list[JsonObject]:
    return [*_start(message), *_contents(message), *_stop(message)]


def _start(message: JsonObject) -> Iterator[JsonObject]:
    usage = {
        name: count
        for name, count in as_object(message["usage"]).items()
        if name not in {"output_tokens_details", "server_tool_use"}
    }
    opened = {
        **message,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": _FIRST_OUTPUT_TOKENS},
    }
    opened.pop("context_management", None)
    yield {"type": "message_start", "message": opened}
    yield {"type": "ping"}


def _contents(message: JsonObject) -> Iterator[JsonObject]:
    for index, block in enumerate(as_objects(message["content"])):
        empty, deltas = _taken_apart(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}


def _taken_apart(block: JsonObject) -> tuple[JsonObject, list[JsonObject]]:
    """A block as it starts, and the deltas that fill it."""
    match block["type"]:
        case "text":
            empty: dict[str, object] = {"type": "text", "text": ""}
            citations = as_objects(block.get("citations"))
            if citations:
                empty["citations"] = []
            cited: list[JsonObject] = [{"type": "citations_delta", "citation": citation} for citation in citations]
            said: list[JsonObject] = [{"type": "text_delta", "text": piece} for piece in pieces(as_text(block["text"]))]
            return empty, cited + said
        case "thinking":
            thought: list[JsonObject] = [
                {"type": "thinking_delta", "thinking": piece} for piece in pieces(as_text(block["thinking"]))
            ]
            signed: JsonObject = {"type": "signature_delta", "signature": block["signature"]}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*thought, signed]
        case "tool_use" | "server_tool_use":
            written = compact(block["input"]).decode()
            parts = ["", *pieces(written)]  # a real stream opens with an empty piece
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in parts]
        case _:
            return block, []


def _stop(message: JsonObject) -> Iterator[JsonObject]:
    usage = {
        name: count
        for name, count in as_object(message["usage"]).items()
        if name not in {"cache_creation", "service_tier"}
    }
    delta: dict[str, object] = {
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": message["stop_sequence"]},
        "usage": usage,
    }
    if "context_management" in message:
        delta["context_management"] = message["context_management"]
    yield delta
    yield {"type": "message_stop"}

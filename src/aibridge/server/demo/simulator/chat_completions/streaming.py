"""Stream a chat completion object as chunks.

Source: https://platform.openai.com/docs/api-reference/chat-streaming. With ``include_usage`` every chunk says
``"usage":null`` and a last one without choices carries the usage; without it there is no trace of usage.
"""

from collections.abc import Iterator

from aibridge.server.demo.simulator.json_values import JsonObject, as_object, as_objects, as_text
from aibridge.server.demo.simulator.tokens import pieces

DONE = b"data: [DONE]\n\n"


def chunks_of(completion: JsonObject, *, include_usage: bool) -> list[JsonObject]:
    frame = {
        "id": completion["id"],
        "object": "chat.completion.chunk",
        "created": completion["created"],
        "model": completion["model"],
        "service_tier": completion["service_tier"],
        "system_fingerprint": completion["system_fingerprint"],
    }
    no_usage: JsonObject = {"usage": None} if include_usage else {}
    chunks: list[JsonObject] = [
        {**frame, "choices": [choice], **no_usage}
        for whole in as_objects(completion["choices"])
        for choice in _choice_deltas(whole)
    ]
    if include_usage:
        chunks.append({**frame, "choices": [], "usage": completion["usage"]})
    return chunks


def _choice_deltas(choice: JsonObject) -> Iterator[JsonObject]:
    message = as_object(choice["message"])
    calls = as_objects(message.get("tool_calls"))

    def framed(delta: JsonObject, finish: object = None) -> JsonObject:
        return {"index": choice["index"], "delta": delta, "logprobs": None, "finish_reason": finish}

    yield framed({"role": "assistant", "content": None if calls else "", "refusal": None})
    for piece in pieces(as_text(message["content"])):
        yield framed({"content": piece})
    for index, call in enumerate(calls):
        for delta in _call_deltas(index, call):
            yield framed({"tool_calls": [delta]})
    yield framed({}, choice["finish_reason"])


def _call_deltas(index: int, call: JsonObject) -> Iterator[JsonObject]:
    """The first delta has id, type and name, the others a piece of the arguments."""
    kind, filled = ("custom", "input") if call["type"] == "custom" else ("function", "arguments")
    named = as_object(call[kind])
    yield {"index": index, "id": call["id"], "type": kind, kind: {"name": named["name"], filled: ""}}
    for piece in pieces(as_text(named[filled])):
        yield {"index": index, kind: {filled: piece}}

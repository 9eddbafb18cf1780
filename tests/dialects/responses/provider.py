"""A provider that plays turns by script, and the gateway's loop around it, without any I/O.

The streams hold all events of the reference, so that the SDK's own accumulator can judge what the client gets.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aibridge.dialects.base import Fact, Turn
from aibridge.dialects.responses import RESPONSES
from aibridge.dialects.responses.request import ResponsesRequest
from aibridge.dialects.turns import Anchor, Hidden, LoopingReply
from aibridge.tools import Text, Tool, ToolResult, Toolset
from tests.dialects.responses.events import Json, block, response

TOOLS = Toolset(
    [
        Tool(id="bmcp_wiki_search", name="search", server="wiki", description="Finds pages."),
        Tool(id="bmcp_wiki_read", name="read", server="wiki", schema=b'{"type":"object","properties":{"p":{}}}'),
    ]
)
Chunks = Callable[[bytes], Iterable[bytes]]


def whole(data: bytes) -> Iterable[bytes]:
    return [data]


# -- items ---------------------------------------------------------------------------------------------


def message(item_id: str, text: str, **members: Any) -> Json:
    part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
    content = {"status": "completed", "content": [part], "role": "assistant"}
    return {"id": item_id, "type": "message", **content, **members}


def reasoning(item_id: str, summary: str, sealed: str | None = None) -> Json:
    item: Json = {"id": item_id, "type": "reasoning", "summary": [{"type": "summary_text", "text": summary}]}
    return item if sealed is None else {**item, "encrypted_content": sealed}


def call(call_id: str, name: str, arguments: str = "{}", **members: Any) -> Json:
    named = {"arguments": arguments, "call_id": call_id, "name": name}
    return {"id": f"fc_{call_id}", "type": "function_call", "status": "completed", **named, **members}


def search(item_id: str, query: str = "q") -> Json:
    action = {"type": "search", "query": query, "queries": [query]}
    return {"id": item_id, "type": "web_search_call", "status": "completed", "action": action}


def is_ours(item: Mapping[str, Any]) -> bool:
    return str(item.get("name", "")).startswith("bmcp_")


# -- streams -------------------------------------------------------------------------------------------


def answered(
    response_id: str, items: Sequence[Json], request: Mapping[str, Any], status: str = "completed", **members: Any
) -> Json:
    """A response object as the provider writes it, with the echo of the request."""
    echoed = {name: request[name] for name in ("tools", "tool_choice", "previous_response_id") if name in request}
    whole_response = {"created_at": 1.0, "model": "gpt-5.6", "parallel_tool_calls": True, "tool_choice": "auto"}
    return {**response(items, status), **whole_response, "tools": [], **echoed, "id": response_id, **members}


def streamed(whole_response: Json, pieces: int = 4) -> bytes:
    events = [{**event, "sequence_number": number} for number, event in enumerate(_events(whole_response, pieces))]
    # In the order in which the provider writes the members.
    return b"".join(
        block({"type": event.pop("type"), "sequence_number": event.pop("sequence_number"), **event}) for event in events
    )


def _events(whole_response: Json, pieces: int) -> Iterator[Json]:
    opened = {**whole_response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": opened}
    yield {"type": "response.in_progress", "response": opened}
    for index, item in enumerate(whole_response["output"]):
        yield {"type": "response.output_item.added", "output_index": index, "item": _empty(item)}
        for event in _inner(item, pieces):
            yield {"type": event.pop("type"), "item_id": item["id"], "output_index": index, **event}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{whole_response['status']}", "response": whole_response}


def _empty(item: Json) -> Json:
    empty = {"content": [], "summary": [], "arguments": "", "status": "in_progress"}
    return {name: empty.get(name, value) for name, value in item.items()}


def _inner(item: Json, pieces: int) -> Iterator[Json]:
    for number, part in enumerate(item.get("content", ())):
        at = {"content_index": number}
        yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
        for delta in _cut(part["text"], pieces):
            yield {"type": "response.output_text.delta", **at, "delta": delta, "logprobs": []}
        yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **at, "part": part}
    for number, part in enumerate(item.get("summary", ())):
        at = {"summary_index": number}
        yield {"type": "response.reasoning_summary_part.added", **at, "part": {**part, "text": ""}}
        for delta in _cut(part["text"], pieces):
            yield {"type": "response.reasoning_summary_text.delta", **at, "delta": delta}
        yield {"type": "response.reasoning_summary_text.done", **at, "text": part["text"]}
        yield {"type": "response.reasoning_summary_part.done", **at, "part": part}
    if "arguments" in item:
        for delta in _cut(item["arguments"], pieces):
            yield {"type": "response.function_call_arguments.delta", "delta": delta}
        done = {"name": item["name"], "arguments": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", **done}
    if item["type"] == "web_search_call":
        yield {"type": "response.web_search_call.in_progress"}
        yield {"type": "response.web_search_call.completed"}


def _cut(text: str, pieces: int) -> Iterator[str]:
    yield from (text[at : at + pieces] for at in range(0, len(text), pieces))


# -- the loop ------------------------------------------------------------------------------------------


@dataclass
class Played:
    """One client request, answered: what the provider was asked, and what the client got of it."""

    asked: list[bytes] = field(default_factory=list)
    received: bytes = b""
    finished: bytes = b""
    facts: list[Fact] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    hidden: Hidden | None = None

    @property
    def got(self) -> bytes:
        return self.received + self.finished

    def events(self) -> list[Json]:
        return [json.loads(line[6:]) for line in self.got.splitlines() if line.startswith(b"data: ")]

    def response(self) -> Json:
        """The response that the client ends with, whatever the mode."""
        found: Json = json.loads(self.got) if self.got[:1] == b"{" else self.events()[-1]["response"]
        return found

    def inputs(self, turn: int = 0) -> list[Json]:
        found: list[Json] = json.loads(self.asked[turn])["input"]
        return found


def result_of(call_id: str) -> ToolResult:
    return ToolResult(call_id=call_id, content=(Text(f"result of {call_id}"),))


def answer_item(call_id: str) -> Json:
    """What the provider is told of a call of ours."""
    return {"type": "function_call_output", "call_id": call_id, "output": f"result of {call_id}"}


def play(
    request: ResponsesRequest,
    script: Sequence[Sequence[Json]],
    *,
    first: int = 1,
    chunks: Chunks = whole,
    stream: bool = True,
    statuses: Mapping[int, str] | None = None,
    pieces: int = 4,
) -> Played:
    """Runs the loop as the interceptor does: `script` has the items of each turn; its responses are numbered."""
    played = Played()
    reply = request.reply(stream=stream)
    for number, items in enumerate(script):
        body = request.body()
        played.asked.append(body)
        status = (statuses or {}).get(number, "completed")
        answer = answered(f"resp_{first + number}", items, json.loads(body), status)
        sent = streamed(answer, pieces) if stream else json.dumps(answer).encode()
        if number:
            _looping(reply).next_turn()
        for chunk in chunks(sent):
            played.received += reply.receive(chunk)
            played.facts += reply.facts()
        turn = reply.end_turn()
        played.facts += reply.facts()
        played.turns.append(turn)
        if turn.calls and turn.runnable:
            results = [result_of(one.call_id) for one in turn.calls]
            _looping(reply).answer(turn, results)
            if not turn.mixed and number + 1 < len(script):
                request = request.continued(turn, results)
    played.hidden = _looping(reply).hidden() if request.offers else None
    played.finished = reply.finish()
    return played


def _looping(reply: Any) -> LoopingReply:
    found: LoopingReply = reply
    return found


def request_of(**members: Any) -> ResponsesRequest:
    body = json.dumps({"model": "gpt-5.6", "stream": True, **members}).encode()
    request = RESPONSES.parse(body)
    assert isinstance(request, ResponsesRequest)
    return request


def held_under(anchors: Sequence[Anchor], held: Sequence[Hidden]) -> dict[Anchor, list[Hidden]]:
    """As a store answers: newest first. `held` is in the order of time."""
    found = {anchor: [one for one in reversed(held) if anchor in one.anchors] for anchor in anchors}
    return {anchor: ones for anchor, ones in found.items() if ones}

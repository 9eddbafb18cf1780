"""A provider that plays turns by script, and the loop that an interceptor runs around them; no I/O."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aibridge.dialects.base import Fact, Turn
from aibridge.dialects.messages.request import MessagesRequest
from aibridge.dialects.turns import Hidden, LoopingReply
from aibridge.tools import Text, Tool, ToolCall, ToolResult, Toolset
from tests.wire.plain_sse import events_of

Block = dict[str, Any]
Chunks = Callable[[bytes], Sequence[bytes]]

TOOLS = Toolset(
    Tool(id=f"bmcp_demo_{name}", name=name, server="demo", schema=b'{"type":"object","properties":{}}')
    for name in ("look", "count")
)


@dataclass(frozen=True, slots=True)
class Scripted:
    """One answer of the provider."""

    content: Sequence[Block]
    stop_reason: str = "end_turn"
    usage: dict[str, int] = field(default_factory=lambda: {"input_tokens": 10, "output_tokens": 5})
    id: str = "msg_1"

    def stream(self) -> bytes:
        message = {"id": self.id, "type": "message", "role": "assistant", "model": "m", "content": []}
        started = {**message, "stop_reason": None, "stop_sequence": None, "usage": {**self.usage, "output_tokens": 1}}
        events: list[Block] = [{"type": "message_start", "message": started}, {"type": "ping"}]
        for index, block in enumerate(self.content):
            start, deltas = _streamed(block)
            events.append({"type": "content_block_start", "index": index, "content_block": start})
            events += ({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas)
            events.append({"type": "content_block_stop", "index": index})
        stop = {"stop_reason": self.stop_reason, "stop_sequence": None}
        events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": self.usage["output_tokens"]}})
        events.append({"type": "message_stop"})
        return b"".join(_event(event) for event in events)

    def body(self) -> bytes:
        message = {"id": self.id, "type": "message", "role": "assistant", "model": "m", "content": self.content}
        return json.dumps(
            {**message, "stop_reason": self.stop_reason, "stop_sequence": None, "usage": self.usage}
        ).encode()


def _event(event: Block) -> bytes:
    data = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
    return f"event: {event['type']}\ndata: {data}\n\n".encode()


def _streamed(block: Block) -> tuple[Block, list[Block]]:
    """How a block begins, and its deltas."""
    match block["type"]:
        case "text":
            said = block["text"]
            pieces = [said[at : at + 3] for at in range(0, len(said), 3)]
            return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in pieces]
        case "thinking":
            thought = {"type": "thinking_delta", "thinking": block["thinking"]}
            signed = {"type": "signature_delta", "signature": block["signature"]}
            return {**block, "thinking": "", "signature": ""}, [thought, signed]
        case "tool_use" | "server_tool_use":
            written = json.dumps(block["input"])
            pieces = ["", written[:4], written[4:]]
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": one} for one in pieces]
        case _:
            return block, []


@dataclass(slots=True)
class Played:
    """What came of one request of a client's."""

    received: bytes = b""  # by the client
    bodies: list[dict[str, Any]] = field(default_factory=list)  # what the provider was asked
    facts: list[Fact] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    hidden: Hidden | None = None


def content_of(received: bytes, *, stream: bool) -> list[Block]:
    """The content that a client has after these bytes; of a stream that broke off, what is whole of it."""
    if not stream:
        content: list[Block] = json.loads(received)["content"]
        return content
    blocks: dict[int, Block] = {}
    written: dict[int, str] = {}
    for _, data in events_of(received):
        event = json.loads(data)
        match event:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                blocks[index] = dict(block)
            case {"type": "content_block_delta", "index": index, "delta": {"partial_json": piece}}:
                written[index] = written.get(index, "") + piece
            case {"type": "content_block_delta", "index": index, "delta": delta}:
                for name in delta.keys() - {"type"}:
                    blocks[index][name] += delta[name]
            case {"type": "content_block_stop", "index": index} if index in written:
                blocks[index]["input"] = json.loads(written[index])
    return [blocks[index] for index in sorted(blocks)]


def said_of(call: ToolCall) -> ToolResult:
    """What every tool of these tests answers."""
    return ToolResult(call_id=call.call_id, content=(Text(f"result of {call.call_id}"),), error=call.unrunnable)


def play(
    request: MessagesRequest,
    script: Sequence[Scripted],
    *,
    stream: bool,
    chunks: Chunks | None = None,
    events: int | None = None,
) -> Played:
    """Runs the loop as an interceptor does, to the end of the script or of the reply.

    `events`: so many of the last answer come, and then the client has gone.
    """
    played = Played()
    reply: LoopingReply | None = None
    for answer in script:
        played.bodies.append(json.loads(request.body()))
        if reply is None:
            reply = cast("LoopingReply", request.reply(stream=stream))
        else:
            reply.next_turn()
        sent = answer.stream() if stream else answer.body()
        if events is not None and answer is script[-1]:
            sent = b"".join(part + b"\n\n" for part in sent.split(b"\n\n")[:events])
        for chunk in chunks(sent) if chunks is not None else [sent]:
            played.received += reply.receive(chunk)
            played.facts += reply.facts()
        turn = reply.end_turn()
        played.facts += reply.facts()
        played.turns.append(turn)
        if turn.outcome == "cut":
            played.hidden = reply.hidden()
            return played
        if not turn.runnable or (answer is script[-1] and not turn.mixed):
            break  # there is no room, or a limit is reached: nothing is run
        results = [said_of(call) for call in turn.calls]
        reply.answer(turn, results)
        played.hidden = reply.hidden()
        if turn.mixed:
            break
        request = request.continued(turn, results)
    assert reply is not None
    played.received += reply.finish()
    if request.loops:
        played.hidden = reply.hidden()
    return played

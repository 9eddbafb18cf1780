"""One small exchange in each dialect, as its provider would have it: thinking, text, a call of a client's tool, usage.

What a stream has told after so many events is said by hand, so that a test of any cut has something to compare with.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

PROMPT = "What is the weather in Nantes?"
DialectName = Literal["messages", "chat_completions", "responses"]


@dataclass(frozen=True)
class Usage:
    input: int
    output: int
    cache_read: int = 0
    partial: bool = False


@dataclass(frozen=True, repr=False)
class Exchange:
    """`visible[n]` and `usage[n]`: how many events the client has, and what is known, after n of them came.

    The client has the last ones only when the end is durable, which `visible` leaves out.
    """

    dialect: DialectName
    provider: Literal["anthropic", "openai"]
    path: str  # below the provider's name
    upstream_path: str
    request: Mapping[str, Any]
    events: tuple[bytes, ...]
    body: bytes
    response_id: str
    visible: tuple[int, ...]
    usage: tuple[Usage | None, ...]
    final: Usage
    thought: tuple[str, str] | None
    error: bytes  # an event with which the provider ends a stream
    attribution: tuple[str, ...]  # where the identifier stands

    def __repr__(self) -> str:
        return f"<{self.dialect}>"

    def asked(self, *, stream: bool) -> bytes:
        return json.dumps({**self.request, "stream": stream}).encode()

    @property
    def stream(self) -> bytes:
        return b"".join(self.events)

    def is_error(self, event: bytes) -> bool:
        """Whether this is how the dialect says in the midst of a stream that something went wrong."""
        name, _, data = event.rpartition(b"data: ")
        found = json.loads(data)
        if self.dialect == "messages":
            return name == b"event: error\n" and found["type"] == "error" and set(found["error"]) == {"type", "message"}
        if self.dialect == "responses" and (name != b"event: error\n" or found["type"] != "error"):
            return False
        return set(found["error"]) == {"type", "message", "param", "code"}


def last_event(stream: bytes) -> bytes:
    """The last event of a stream, whole."""
    return stream.rstrip(b"\n").rpartition(b"\n\n")[2] + b"\n\n"


def named(**value: Any) -> bytes:
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()


def unnamed(**value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def _messages() -> Exchange:
    start: dict[str, Any] = {"input_tokens": 20, "cache_read_input_tokens": 100, "output_tokens": 3}
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
    }
    open_message: dict[str, Any] = {**message, "content": [], "stop_reason": None, "usage": start}

    def delta(index: int, **value: Any) -> bytes:
        return named(type="content_block_delta", index=index, delta=value)

    events = (
        named(type="message_start", message=open_message),
        named(type="content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
        delta(0, type="thinking_delta", thinking="I should look it up."),
        delta(0, type="signature_delta", signature="c2lnbmVk"),
        named(type="content_block_stop", index=0),
        named(type="ping"),
        named(type="content_block_start", index=1, content_block={"type": "text", "text": ""}),
        delta(1, type="text_delta", text="I look it up: \u00e9\u20ac\U0001f600."),
        named(type="content_block_stop", index=1),
        named(type="content_block_start", index=2, content_block=call),
        delta(2, type="input_json_delta", partial_json='{"city": '),
        delta(2, type="input_json_delta", partial_json='"Nantes"}'),
        named(type="content_block_stop", index=2),
        named(type="message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 42}),
        named(type="message_stop"),
    )
    content = [
        {"type": "thinking", "thinking": "I should look it up.", "signature": "c2lnbmVk"},
        {"type": "text", "text": "I look it up: \u00e9\u20ac\U0001f600."},
        {**call, "input": {"city": "Nantes"}},
    ]
    whole: dict[str, Any] = {
        **message,
        "content": content,
        "stop_reason": "tool_use",
        "usage": {**start, "output_tokens": 42},
    }
    early, late = Usage(20, 3, 100, partial=True), Usage(20, 42, 100, partial=True)
    return Exchange(
        dialect="messages",
        provider="anthropic",
        path="/v1/messages",
        upstream_path="/v1/messages",
        request={
            "model": "claude-sonnet-4-5",
            "max_tokens": 1000,
            "tools": [{"name": "weather", "input_schema": {"type": "object", "properties": {"city": {}}}}],
            "messages": [{"role": "user", "content": PROMPT}],
        },
        events=events,
        body=json.dumps(whole).encode(),
        response_id="msg_1",
        visible=(*range(len(events)), len(events) - 1),
        usage=(None, *[early] * 13, late, Usage(20, 42, 100)),
        final=Usage(20, 42, 100),
        thought=("I should look it up.", "thinking"),
        error=named(type="error", error={"type": "overloaded_error", "message": "Overloaded"}),
        attribution=("metadata", "user_id"),
    )


def _chat() -> Exchange:
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5-2025-08-07"}
    usage = {
        "prompt_tokens": 120,
        "completion_tokens": 42,
        "total_tokens": 162,
        "prompt_tokens_details": {"cached_tokens": 100},
    }
    function = {"name": "weather", "arguments": '{"city": "Nantes"}'}

    def chunk(finish: str | None = None, **delta: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return unnamed(**frame, choices=[choice], usage=None)

    events = (
        chunk(role="assistant", content=""),
        chunk(content="I look it up: "),
        chunk(content="\u00e9\u20ac\U0001f600."),
        chunk(tool_calls=[{"index": 0, "id": "call_1", "type": "function", "function": {**function, "arguments": ""}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"city": '}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": '"Nantes"}'}}]),
        chunk("tool_calls"),
        unnamed(**frame, choices=[], usage=usage),
        b"data: [DONE]\n\n",
    )
    call = {"id": "call_1", "type": "function", "function": function}
    message = {"role": "assistant", "content": "I look it up: \u00e9\u20ac\U0001f600.", "tool_calls": [call]}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    final = Usage(20, 42, 100)
    return Exchange(
        dialect="chat_completions",
        provider="openai",
        path="/v1/chat/completions",
        upstream_path="/chat/completions",
        request={
            "model": "gpt-5",
            "stream_options": {"include_usage": True},
            "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
            "messages": [{"role": "user", "content": PROMPT}],
        },
        events=events,
        body=json.dumps({**frame, "object": "chat.completion", "choices": choices, "usage": usage}, indent=2).encode(),
        response_id="chatcmpl-1",
        # The last finish reason, and what follows it, is kept back: it may be the end.
        visible=(0, 1, 2, 3, 4, 5, 6, 6, 6, 8),
        usage=(*[None] * 8, final, final),
        final=final,
        thought=None,
        error=unnamed(error={"message": "Overloaded", "type": "server_error", "param": None, "code": None}),
        attribution=("user",),
    )


def _responses() -> Exchange:
    usage = {
        "input_tokens": 120,
        "input_tokens_details": {"cached_tokens": 100},
        "output_tokens": 42,
        "output_tokens_details": {"reasoning_tokens": 8},
        "total_tokens": 162,
    }
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5-2025-08-07", "tools": []}
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    thought = {"type": "summary_text", "text": "I should look it up."}
    text = {"type": "output_text", "text": "I look it up: \u00e9\u20ac\U0001f600.", "annotations": []}
    reasoning = {"id": "rs_1", "type": "reasoning", "summary": [thought]}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    call = {
        "id": "fc_1",
        "type": "function_call",
        "call_id": "call_1",
        "name": "weather",
        "arguments": '{"city": "Nantes"}',
        "status": "completed",
    }
    output = [reasoning, message, call]
    done = {**response, "status": "completed", "output": output, "usage": usage}
    values: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": {**reasoning, "summary": []}},
        {
            "type": "response.reasoning_summary_text.delta",
            "item_id": "rs_1",
            "output_index": 0,
            "summary_index": 0,
            "delta": "I should look it up.",
        },
        {"type": "response.output_item.done", "output_index": 0, "item": reasoning},
        {"type": "response.output_item.added", "output_index": 1, "item": {**message, "content": []}},
        {
            "type": "response.output_text.delta",
            "item_id": "msg_1",
            "output_index": 1,
            "content_index": 0,
            "delta": "I look it up: \u00e9\u20ac\U0001f600.",
        },
        {"type": "response.output_item.done", "output_index": 1, "item": message},
        {"type": "response.output_item.added", "output_index": 2, "item": {**call, "arguments": ""}},
        {
            "type": "response.function_call_arguments.delta",
            "item_id": "fc_1",
            "output_index": 2,
            "delta": '{"city": "Nantes"}',
        },
        {"type": "response.output_item.done", "output_index": 2, "item": call},
        {"type": "response.completed", "response": done},
    ]
    events = tuple(named(**value, sequence_number=number) for number, value in enumerate(values))
    final = Usage(20, 42, 100)
    return Exchange(
        dialect="responses",
        provider="openai",
        path="/v1/responses",
        upstream_path="/responses",
        request={
            "model": "gpt-5",
            "tools": [{"type": "function", "name": "weather", "parameters": {"type": "object"}}],
            "input": PROMPT,
        },
        events=events,
        body=json.dumps(done, indent=2).encode(),
        response_id="resp_1",
        visible=(*range(len(events)), len(events) - 1),
        usage=(*[None] * len(events), final),
        final=final,
        thought=("I should look it up.", "reasoning_summary"),
        error=named(type="error", code="server_is_overloaded", message="Overloaded", param=None, sequence_number=99),
        attribution=("safety_identifier",),
    )


MESSAGES = _messages()
CHAT = _chat()
RESPONSES = _responses()
EXCHANGES = (MESSAGES, CHAT, RESPONSES)

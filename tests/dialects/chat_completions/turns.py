"""A provider that plays scripted turns, a gateway's loop around the dialect, and clients that send on what they saw.

Nothing here uses the code under test but through the dialect's door: what a turn says is written from its script, as a
stream or as a body, and what a client sees is put together by the real SDK.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from aibridge.dialects.base import Fact, Turn
from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.dialects.chat_completions.request import ChatRequest
from aibridge.dialects.turns import Hidden, LoopingReply
from aibridge.tools import Text, Tool, ToolCall, ToolResult, Toolset
from tests.dialects.chat_completions.streams import words

TOOLSET = Toolset(
    Tool(id=f"bmcp_demo_{name}", name=name, server="demo", description=f"To {name}.") for name in ("look", "find")
)
OURS = ("bmcp_demo_look", "bmcp_demo_find", "bmcp_gone")
CLIENTS = ("read_file", "b", "bmc")


@dataclass(frozen=True)
class Call:
    id: str
    name: str
    arguments: str

    @property
    def ours(self) -> bool:
        return self.name.startswith("bmcp_")


@dataclass(frozen=True)
class Script:
    """One turn: what the model says in it."""

    id: str
    text: tuple[str, ...] = ()
    thoughts: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()
    finish: str = "stop"
    cuts: tuple[int, ...] = (0,)  # where each call's arguments are cut in two
    extra: bool = False  # with a member that nobody knows

    @property
    def said(self) -> str:
        return "".join(self.text)

    @property
    def ours(self) -> list[Call]:
        return [call for call in self.calls if call.ours]

    @property
    def clients(self) -> list[Call]:
        return [call for call in self.calls if not call.ours]

    def usage(self) -> dict[str, Any]:
        number = int(self.id.rpartition("-")[2]) + 1
        return {
            "prompt_tokens": 100 * number,
            "completion_tokens": 3 * number,
            "total_tokens": 103 * number,
            "prompt_tokens_details": {"cached_tokens": 10 * number},
            "completion_tokens_details": {"reasoning_tokens": number},
        }

    def message(self) -> dict[str, Any]:
        """The assistant message as a client that sees everything sends it on."""
        message: dict[str, Any] = {"role": "assistant", "content": self.said or None}
        if self.thoughts:
            message["reasoning_content"] = "".join(self.thoughts)
        if self.extra:
            message["signature"] = {"of": self.id}
        if self.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in self.calls
            ]
        return message

    def body(self) -> bytes:
        completion = {
            "id": self.id,
            "object": "chat.completion",
            "created": 7,
            "model": "m-1",
            "choices": [{"index": 0, "message": self.message(), "logprobs": None, "finish_reason": self.finish}],
            "usage": self.usage(),
        }
        return json.dumps(completion).encode()

    def stream(self, *, usage: bool = True, done: bool = True) -> list[bytes]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": None, "reasoning_content": thought} for thought in self.thoughts]
        deltas += [{"content": text} for text in self.text]
        if self.extra:
            deltas.append({"signature": {"of": self.id}})
        cuts = itertools.cycle(self.cuts)
        for index, call in enumerate(self.calls):
            cut = next(cuts)
            start = {"name": call.name, "arguments": call.arguments[:cut]}
            deltas.append({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": start}]})
            rest = {"index": index, "function": {"arguments": call.arguments[cut:]}}
            deltas.append({"tool_calls": [rest]})
        frame = {"id": self.id, "object": "chat.completion.chunk", "created": 7, "model": "m-1"}
        null = {"usage": None} if usage else {}
        chunks: list[dict[str, Any]] = [
            {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **null} for delta in deltas
        ]
        chunks.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": self.finish}], **null})
        if usage:
            chunks.append({**frame, "choices": [], "usage": self.usage()})
        events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
        return [*events, b"data: [DONE]\n\n"] if done else events


def results_of(calls: Sequence[ToolCall]) -> list[ToolResult]:
    """What our tools answer: the same for the same call."""
    return [
        ToolResult(call_id=call.call_id, content=(Text(f"{call.tool_id} {call.arguments}"),))
        if call.unrunnable is None
        else ToolResult(call_id=call.call_id, content=(Text(call.unrunnable),), error="not run")
        for call in calls
    ]


@dataclass
class Exchange:
    """One client request, run to its end."""

    client: bytes = b""
    asked: list[bytes] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)  # as it was after each answered turn, and at the end

    @property
    def messages(self) -> list[list[dict[str, Any]]]:
        """What each request upstream had."""
        return [json.loads(body)["messages"] for body in self.asked]


def parsed(body: bytes) -> ChatRequest:
    return cast("ChatRequest", CHAT_COMPLETIONS.parse(body))


def run(
    request: ChatRequest,
    scripts: Sequence[Script],
    *,
    stream: bool,
    chunked: Callable[[bytes], list[bytes]] = lambda data: [data],
    done: bool = True,
    most: int = 25,
) -> Exchange:
    """What the interceptor does, without everything that is not the dialect's."""
    exchange, reply = Exchange(), None
    request = request.asking_usage()
    for number, script in enumerate(scripts):
        exchange.asked.append(request.body())
        if reply is None:
            reply = cast("LoopingReply", request.reply(stream=stream))
        else:
            reply.next_turn()
        answer = b"".join(script.stream(done=done)) if stream else script.body()
        for chunk in chunked(answer):
            exchange.client += reply.receive(chunk)
            exchange.facts += reply.facts()
        turn = reply.end_turn()
        exchange.facts += reply.facts()
        exchange.turns.append(turn)
        if not turn.calls or not turn.runnable:
            break
        results = results_of(turn.calls)
        reply.answer(turn, results)
        if turn.mixed or number + 1 == most:
            break
        if (hidden := reply.hidden()) is not None:
            exchange.hidden.append(hidden)
        request = request.continued(turn, results, last=number + 2 == most)
    assert reply is not None
    if (held := reply.hidden()) is not None:
        exchange.hidden.append(held)
    exchange.client += reply.finish()
    return exchange


def accumulated(client: bytes) -> ChatCompletion:
    """What the SDK makes of a stream."""
    state = ChatCompletionStreamState()
    for chunk in chunks_in(client):
        list(state.handle_chunk(ChatCompletionChunk.model_validate(chunk)))
    return state.current_completion_snapshot


def chunks_in(client: bytes) -> list[dict[str, Any]]:
    return [json.loads(block[6:]) for block in client.split(b"\n\n") if block.startswith(b"data: {")]


def seen_by_sdk(client: bytes, *, stream: bool) -> dict[str, Any]:
    """The answer as a client has it."""
    completion = accumulated(client) if stream else ChatCompletion.model_validate_json(client)
    return completion.model_dump(exclude_none=True)


# -- drawn at random -----------------------------------------------------------------------------------


@st.composite
def replies(draw: st.DrawFn, prefix: str = "r", counted: bool = False) -> list[Script]:
    """The turns of one reply: any number with calls of ours, then one that ends it."""
    scripts = [
        draw(_scripts(f"{prefix}-{number}", ours=st.integers(1, 3), clients=st.just(0), counted=counted))
        for number in range(draw(st.integers(0, 3), label="turns that the client does not see"))
    ]
    mixed = draw(st.booleans(), label="the last turn is mixed")
    ours, clients = (st.integers(1, 2), st.integers(1, 2)) if mixed else (st.just(0), st.integers(0, 2))
    scripts.append(draw(_scripts(f"{prefix}-{len(scripts)}", ours=ours, clients=clients, counted=counted)))
    return scripts


@st.composite
def _scripts(
    draw: st.DrawFn,
    name: str,
    *,
    ours: st.SearchStrategy[int],
    clients: st.SearchStrategy[int],
    counted: bool,
) -> Script:
    names = [draw(st.sampled_from(OURS)) for _ in range(draw(ours))]
    names += [draw(st.sampled_from(CLIENTS)) for _ in range(draw(clients))]
    names = draw(st.permutations(names))
    calls = []
    for number, tool in enumerate(names):
        arguments = draw(st.dictionaries(words, words, max_size=2).map(json.dumps) | st.sampled_from(["", "{", "[]"]))
        if not tool.startswith("bmcp_"):
            arguments = json.dumps({"path": draw(words)})
        calls.append(Call(f"call_{number}" if counted else f"call_{name}_{number}_0123456789", tool, arguments))
    return Script(
        name,
        text=tuple(draw(st.lists(words, max_size=3))),
        thoughts=tuple(draw(st.lists(words.filter(bool), max_size=2))),
        calls=tuple(calls),
        finish=draw(st.sampled_from(["tool_calls", "stop"])) if calls else "stop",
        cuts=tuple(draw(st.lists(st.integers(0, 6), min_size=1, max_size=3))),
        extra=draw(st.booleans()),
    )

"""What offered tools cost a request that calls none of them: CPU time in one process, without sockets or a database.

A pretend provider hands out each stream event by event, as `HttpUpstream` does; the client takes what it gets at once.
Each kind of request is asked in turns with a toolbox and without: the least time of all rounds is compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, Self, cast

from aibridge import Actor, RequestBridge, providers
from aibridge.ports import Identity, Recorder, Upstream
from aibridge.tools import Text, Tool, ToolCall, ToolResult, Toolset

EVENTS = 200
ROUNDS = 25
PATHS = {
    "messages": "/anthropic/v1/messages",
    "chat": "/openai/v1/chat/completions",
    "responses": "/openai/v1/responses",
}
_WORDS = "The function adds two numbers, returns the sum and says what it did.\\n"


class _Answer:
    """Both the opening of an answer and the answer."""

    status = 200
    at_end = False

    def __init__(self, chunks: Sequence[bytes], content_type: bytes) -> None:
        self.headers = [(b"content-type", content_type), (b"request-id", b"req_1"), (b"date", b"today")]
        self._chunks = list(reversed(chunks))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def read(self) -> bytes:
        self.at_end = len(self._chunks) <= 1
        return self._chunks.pop() if self._chunks else b""

    async def hand_to(self, take: Callable[[bytes], bool]) -> None:
        while len(self._chunks) > 1 and take(self._chunks.pop()):
            pass


class _Provider:
    def __init__(self) -> None:
        self.chunks: Sequence[bytes] = ()
        self.content_type = b""
        self.body = b""

    def open(self, request: Any, _timeouts: Any, **_: Any) -> _Answer:
        self.body = request.body
        return _Answer(self.chunks, self.content_type)

    async def close(self) -> None:
        return None


class _Nowhere:
    async def _keep(self, _record: object) -> None:
        return None

    record_interception = record_interception_ended = record_token_usage = _keep
    record_prompt_usage = record_tool_usage = record_model_thought = _keep


class _Anyone:
    async def authenticate(self, scope: Any) -> Identity:
        headers = [header for header in scope["headers"] if header[0] != b"authorization"]
        return Identity(Actor(id="u"), headers, scope["query_string"])


class _Toolbox:
    def __init__(self, count: int) -> None:
        schema = b'{"type":"object","properties":{"query":{"type":"string"}},"required":["query"]}'
        self._tools = Toolset(
            Tool(id=f"bmcp_docs_{n}", name=str(n), server="docs", description="Looks things up." * 5, schema=schema)
            for n in range(count)
        )

    async def tools(self, _identity: Identity) -> Toolset:
        return self._tools

    async def call(self, _identity: Identity, _tool: Tool, call: ToolCall) -> ToolResult:
        return ToolResult(call_id=call.call_id, content=(Text("nothing"),))


class _Client:
    """One request of a client whose side of the connection is never full."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.size = 0

    async def receive(self) -> Any:
        return {"type": "http.request", "body": self._body, "more_body": False}

    async def send(self, message: Any) -> None:
        self.size += len(message.get("body", b""))

    def write_now(self, data: bytes) -> bool:
        self.size += len(data)
        return True


def _on_disconnect(_call: object) -> None:
    return None


async def _ask(bridge: RequestBridge, path: str, body: bytes) -> int:
    client = _Client(body)
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "headers": [
            (b"host", b"x"),
            (b"authorization", b"Bearer x"),
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
        ],
        "query_string": b"",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "root_path": "",
        "extensions": {"aibridge.on_disconnect": _on_disconnect, "aibridge.write_now": client.write_now},
    }
    await bridge(scope, client.receive, client.send)
    return client.size


# -- what is asked and answered ---------------------------------------------------------------------------


def request_body(dialect: str, *, stream: bool, large: bool) -> bytes:
    said = "Write a function that adds two numbers, please."
    rest: dict[str, Any] = {"model": "a-model", "stream": stream}
    if stream and dialect == "chat":
        rest["stream_options"] = {"include_usage": True}
    if not large:
        return json.dumps({**rest, "input" if dialect == "responses" else "messages": [_user(said)]}).encode()
    history = [_user(said) if n % 2 == 0 else {"role": "assistant", "content": said * 12} for n in range(29)]
    system = {"role": "system", "content": said * 210}
    parameters = {f"p{n}": {"type": "string", "description": 'says "what" to do\n'} for n in range(6)}
    schema = {"type": "object", "properties": parameters}
    named = [{"name": f"Tool{n}", "description": said * 20} for n in range(18)]
    if dialect == "messages":
        tools = [{**one, "input_schema": schema} for one in named]
        asked = {**rest, "max_tokens": 1024, "system": said * 210, "messages": history, "tools": tools}
    elif dialect == "chat":
        functions = [{"type": "function", "function": {**one, "parameters": schema}} for one in named]
        asked = {**rest, "messages": [system, *history], "tools": functions}
    else:
        tools = [{"type": "function", **one, "parameters": schema} for one in named]
        asked = {**rest, "instructions": said * 210, "input": history, "tools": tools}
    return json.dumps(asked, separators=(",", ":")).encode()


def _user(said: str) -> dict[str, Any]:
    return {"role": "user", "content": said}


def whole_answer(dialect: str) -> bytes:
    said = _WORDS * 24
    tokens = '"input_tokens":10,"output_tokens":20'
    if dialect == "messages":
        content = f'[{{"type":"text","text":"{said}"}}]'
        head = '{"id":"msg_1","type":"message","role":"assistant","model":"a-model"'
        return f'{head},"content":{content},"stop_reason":"end_turn","usage":{{{tokens}}}}}'.encode()
    if dialect == "chat":
        message = f'{{"role":"assistant","content":"{said}","refusal":null}}'
        choice = f'{{"index":0,"message":{message},"logprobs":null,"finish_reason":"stop"}}'
        head = '{"id":"chatcmpl-1","object":"chat.completion","created":1741569952,"model":"a-model"'
        return f'{head},"choices":[{choice}],"usage":{{"prompt_tokens":10,"completion_tokens":20}}}}'.encode()
    head = '{"id":"resp_1","object":"response","created_at":1741476542,"status":"completed","model":"a-model"'
    return f'{head},"output":[{_item(said)}],"usage":{{{tokens}}}}}'.encode()


def _item(said: str) -> str:
    content = f'[{{"type":"output_text","text":"{said}","annotations":[]}}]'
    return f'{{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":{content}}}'


def stream_of(dialect: str, events: int) -> list[bytes]:
    made = {"messages": _messages, "chat": _chat, "responses": _responses}[dialect](events)
    return [event.encode() for event in made]


def _named(kind: str, rest: str) -> str:
    return f'event: {kind}\ndata: {{"type":"{kind}"{rest}}}\n\n'


def _messages(events: int) -> list[str]:
    usage = '"usage":{"input_tokens":10,"cache_read_input_tokens":3,"output_tokens":3}'
    message = f'{{"id":"msg_1","type":"message","role":"assistant","model":"a-model","content":[],{usage}}}'
    return [
        _named("message_start", f',"message":{message}'),
        _named("content_block_start", ',"index":0,"content_block":{"type":"text","text":""}'),
        'event: ping\ndata: {"type": "ping"}\n\n',
        *(
            _named("content_block_delta", f',"index":0,"delta":{{"type":"text_delta","text":" words {n}\\n"}}')
            for n in range(events)
        ),
        _named("content_block_stop", ',"index":0'),
        _named(
            "message_delta",
            ',"delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":20}',
        ),
        _named("message_stop", ""),
    ]


def _chat(events: int) -> list[str]:
    head = 'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1694268190,"model":"a-model"'

    def chunk(delta: str, reason: str = "null") -> str:
        choice = f'{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}'
        return f'{head},"choices":[{choice}],"usage":null}}\n\n'

    return [
        chunk('{"role":"assistant","content":"","refusal":null}'),
        *(chunk(f'{{"content":" words {n}\\n"}}') for n in range(events)),
        chunk("{}", '"stop"'),
        f'{head},"choices":[],"usage":{{"prompt_tokens":10,"completion_tokens":20}}}}\n\n',
        "data: [DONE]\n\n",
    ]


def _responses(events: int) -> list[str]:
    numbers = iter(range(events + 10))

    def event(kind: str, rest: str) -> str:
        return _named(f"response.{kind}", f',"sequence_number":{next(numbers)}{rest}')

    def response(status: str, output: str, usage: str) -> str:
        head = f'{{"id":"resp_1","object":"response","created_at":1741290958,"status":"{status}"'
        return f',"response":{head},"model":"a-model","output":[{output}],"tools":[],"usage":{usage}}}'

    place = ',"item_id":"msg_1","output_index":0,"content_index":0'
    started = '{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}'
    return [
        event("created", response("in_progress", "", "null")),
        event("in_progress", response("in_progress", "", "null")),
        event("output_item.added", f',"output_index":0,"item":{started}'),
        event("content_part.added", place + ',"part":{"type":"output_text","text":"","annotations":[]}'),
        *(event("output_text.delta", place + f',"delta":" words {n}\\n","logprobs":[]') for n in range(events)),
        event("output_text.done", place + f',"text":"{_WORDS}"'),
        event("content_part.done", place + f',"part":{{"type":"output_text","text":"{_WORDS}","annotations":[]}}'),
        event("output_item.done", f',"output_index":0,"item":{_item(_WORDS)}'),
        event("completed", response("completed", _item(_WORDS), '{"input_tokens":10,"output_tokens":20}')),
    ]


# -- what is measured -------------------------------------------------------------------------------------


async def _least(rounds: int, number: int, asks: Sequence[Callable[[], Any]]) -> list[float]:
    """The least CPU time of each kind of request, in microseconds; asked in turns, so that all have the same luck."""
    least = [float("inf")] * len(asks)
    for _ in range(rounds):
        for place, ask in enumerate(asks):
            started = time.process_time()
            for _ in range(number):
                await ask()
            least[place] = min(least[place], (time.process_time() - started) / number * 1e6)
    return least


def _bridge(provider: _Provider, toolbox: _Toolbox | None) -> RequestBridge:
    return RequestBridge(
        providers=[providers.anthropic(key="central-key-12345"), providers.openai(key="central-key-12345")],
        recorder=cast("Recorder", _Nowhere()),
        upstream=cast("Upstream", provider),
        authenticator=_Anyone(),
        toolbox=toolbox,
    )


Kind = Literal["short", "large", "stream", "large-stream"]
KINDS: Sequence[Kind] = ("stream", "short", "large", "large-stream")


async def measure(dialects: Sequence[str], kinds: Sequence[Kind], rounds: int, tools: int) -> None:
    provider = _Provider()
    async with _bridge(provider, None) as plain, _bridge(provider, _Toolbox(tools)) as offering:
        print(f"{'dialect':10} {'kind':13} {'plain':>9} {'offered':>9} {'ratio':>6}   CPU us a request")
        for dialect in dialects:
            for kind in kinds:
                stream = "stream" in kind
                body = request_body(dialect, stream=stream, large="large" in kind)
                provider.chunks = stream_of(dialect, EVENTS) if stream else [whole_answer(dialect)]
                provider.content_type = b"text/event-stream" if stream else b"application/json"
                path = PATHS[dialect]
                without = await _ask(plain, path, body)
                assert await _ask(offering, path, body) == without == sum(map(len, provider.chunks)), "not as it came"
                assert b'"bmcp_docs_0"' in provider.body, "nothing was offered"
                asks = [partial(_ask, bridge, path, body) for bridge in (plain, offering)]
                least, more = await _least(rounds, 40 if stream else 150, asks)
                print(f"{dialect:10} {kind:13} {least:9.1f} {more:9.1f} {more / least:6.2f}")


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offered_tools", description=__doc__)
    parser.add_argument("--dialect", action="append", choices=tuple(PATHS))
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tools", type=int, default=5, help="how many are offered")
    chosen = parser.parse_args(arguments)
    work = measure(chosen.dialect or tuple(PATHS), chosen.kind or KINDS, chosen.rounds, chosen.tools)
    asyncio.run(work)


if __name__ == "__main__":
    main(sys.argv[1:])

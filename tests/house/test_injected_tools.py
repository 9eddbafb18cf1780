"""Injected tools seen by the real SDKs over real sockets: one reply, and a conversation that forgets nothing.

The tools are scripted; everything else is what runs in production, the SQLite file of held turns too.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from aibridge.server.demo.simulator import ScriptedAnswer
from aibridge.server.sealing import Sealing
from aibridge.stores.sqlite import SqliteConversationStore
from aibridge.tool_settings import ToolSettings
from aibridge.tools import ToolCall, ToolResult
from tests.durable import SetClock, recording
from tests.exchanges import DialectName
from tests.fakes.toolbox import ScriptedToolbox, result_of
from tests.fakes.turns import Call, Says, offered_in, results_in
from tests.house.in_process import ADA, InProcess, in_process
from tests.test_keep_alive import frames_elsewhere

pytestmark = pytest.mark.anyio

DIALECTS: tuple[DialectName, ...] = ("messages", "chat_completions", "responses")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])

SEARCHES = Says(1, "I look it up. ", (Call("call_1"), Call("call_2", arguments={"q": "y"})))
MIXED = Says(2, "Now yours. ", (Call("call_3", "bmcp_wiki_read"), Call("call_4", "weather", {"city": "Nantes"})))
DONE = Says(3, "It rains.")
ASKED = "What is the weather in Nantes?"
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the server runs."""
    return "asyncio", {"use_uvloop": True}


def script(house: InProcess, dialect: DialectName, stream: bool, *turns: Says) -> None:
    kind = b"text/event-stream" if stream else b"application/json"
    for turn in turns:
        whole = turn.stream(dialect) if stream else turn.body(dialect)
        steps = tuple(whole[at : at + 500] for at in range(0, len(whole), 500))
        house.provider.script(ScriptedAnswer(headers=[(b"content-type", kind)], steps=steps))


def bodies(house: InProcess) -> list[bytes]:
    return [exchange.body for exchange in house.provider.ledger]


class Conversation:
    """What a program with an SDK does: asks, runs its own tool, sends back what it saw and the result."""

    def __init__(self, url: str, dialect: DialectName, stream: bool, *, patience: float = 30) -> None:
        self._dialect = dialect
        self._stream = stream
        self._claude = AsyncAnthropic(base_url=f"{url}/anthropic", api_key=ADA, max_retries=0, timeout=patience)
        self._gpt = AsyncOpenAI(base_url=f"{url}/openai/v1", api_key=ADA, max_retries=0, timeout=patience)
        self.history: list[Any] = [{"role": "user", "content": ASKED}]
        self.text = ""
        self.calls: list[str] = []
        self.usage: tuple[int, int] = (0, 0)  # input, output

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._claude.close()
        await self._gpt.close()

    async def ask(self) -> None:
        match self._dialect:
            case "messages":
                await self._ask_claude()
            case "chat_completions":
                await self._ask_chat()
            case "responses":
                await self._ask_responses()

    async def _ask_claude(self) -> None:
        tools: Any = [{"name": "weather", "input_schema": SCHEMA}]
        asked: Any = {"model": "claude-opus-4-6", "max_tokens": 100, "tools": tools, "messages": self.history}
        if self._stream:
            async with self._claude.messages.stream(**asked) as stream:
                message = await stream.get_final_message()
        else:
            message = await self._claude.messages.create(**asked)
        self.text = "".join(block.text for block in message.content if block.type == "text")
        calls = [block for block in message.content if block.type == "tool_use"]
        self.calls = [call.name for call in calls]
        self.usage = (message.usage.input_tokens, message.usage.output_tokens)
        self.history.append({"role": "assistant", "content": [block.to_dict() for block in message.content]})
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
        self.history += [{"role": "user", "content": results}] if results else []

    async def _ask_chat(self) -> None:
        tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
        asked: Any = {"model": "gpt-5", "tools": tools, "messages": self.history}
        if self._stream:
            async with self._gpt.chat.completions.stream(**asked, stream_options={"include_usage": True}) as stream:
                completion: Any = await stream.get_final_completion()
        else:
            completion = await self._gpt.chat.completions.create(**asked)
        message = completion.choices[0].message
        calls = message.tool_calls or []
        self.text, self.calls = message.content or "", [call.function.name for call in calls]
        self.usage = (completion.usage.prompt_tokens, completion.usage.completion_tokens)
        said: dict[str, Any] = {"role": "assistant", "content": message.content}
        if calls:
            said["tool_calls"] = [
                {"id": call.id, "type": "function", "function": call.function.to_dict()} for call in calls
            ]
        self.history.append(said)
        self.history += [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]

    async def _ask_responses(self) -> None:
        tools: Any = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]
        asked: Any = {"model": "gpt-5", "tools": tools, "input": self.history, "store": False}
        if self._stream:
            async with self._gpt.responses.stream(**asked) as stream:
                response: Any = await stream.get_final_response()
        else:
            response = await self._gpt.responses.create(**asked)
        calls = [item for item in response.output if item.type == "function_call"]
        self.text, self.calls = response.output_text, [call.name for call in calls]
        self.usage = (response.usage.input_tokens, response.usage.output_tokens)
        self.history += [item.to_dict() for item in response.output]
        self.history += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]


@every_dialect
@both_modes
async def test_an_sdk_sees_one_reply_of_several_turns(dialect: DialectName, stream: bool) -> None:
    toolbox = ScriptedToolbox()
    async with in_process(toolbox=toolbox) as house:
        script(house, dialect, stream, SEARCHES, DONE)
        async with Conversation(house.url, dialect, stream) as talk:
            await talk.ask()

        assert "It rains." in talk.text
        assert "I look it up." in talk.text
        assert talk.calls == []
        assert "bmcp_" not in json.dumps(talk.history)
        assert [call.call_id for _, call in toolbox.calls] == ["call_1", "call_2"]
        assert {name: "result of" in text for name, text in results_in(dialect, bodies(house)[1]).items()} == {
            "call_1": True,
            "call_2": True,
        }
        assert {"bmcp_wiki_read", "bmcp_wiki_search", "weather"} == set(offered_in(dialect, bodies(house)[0]))
        last, both = house.recorder.token_usages[1], house.recorder.token_usages
        assert talk.usage[0] == last.input_tokens + last.cache_read_tokens
        assert talk.usage[1] == sum(usage.output_tokens for usage in both)


@asynccontextmanager
async def gateway(folder: Path, toolbox: ScriptedToolbox) -> AsyncIterator[InProcess]:
    """A gateway whose held turns are in a file of that folder; leaving it is its end."""
    async with recording(folder) as at_work:
        store = SqliteConversationStore(at_work.file, at_work.writer, SetClock(), Sealing(b"k" * 32))
        with closing(store):
            async with in_process(toolbox=toolbox, conversations=store) as house:
                yield house


@every_dialect
@both_modes
async def test_a_conversation_goes_on_after_a_restart_as_if_its_client_had_seen_everything(
    dialect: DialectName, stream: bool, tmp_path: Path
) -> None:
    """Searches of ours, then a turn with a call of ours and one of the client's; then another gateway."""
    toolbox = ScriptedToolbox()
    async with gateway(tmp_path, toolbox) as house:
        script(house, dialect, stream, SEARCHES, MIXED)
        async with Conversation(house.url, dialect, stream) as talk:
            await talk.ask()
        assert talk.calls == ["weather"]
        history, before = talk.history, bodies(house)
    async with gateway(tmp_path, toolbox) as house:
        script(house, dialect, stream, DONE, Says(4, "Bye."))
        async with Conversation(house.url, dialect, stream) as talk:
            talk.history = history
            await talk.ask()
            talk.history.append({"role": "user", "content": "Thanks."})
            await talk.ask()
        after = bodies(house)

    assert set(results_in(dialect, before[1])) == {"call_1", "call_2"}
    found = results_in(dialect, after[0])
    assert list(found) == ["call_1", "call_2", "call_3", "call_4"]
    assert "sunny" in found["call_4"]
    assert [list(results_in(dialect, body)) for body in after] == [list(found)] * 2
    # A client spells what it saw in its own way, but the conversation is the same; and from then on the same bytes, so
    # that the provider's cache of the prefix holds.
    member = "input" if dialect == "responses" else "messages"
    told = [json.loads(body, object_hook=_without_additions)[member] for body in (before[1], *after)]
    assert told[1][: len(told[0])] == told[0]
    assert told[2][: len(told[1])] == told[1]
    spelled = [bytes(msgspec.json.decode(body, type=dict[str, msgspec.Raw])[member]) for body in after]
    assert spelled[1].startswith(spelled[0][:-1])


def _without_additions(found: dict[str, Any]) -> dict[str, Any]:
    """The SDK's own stream helper adds members of its own to what it saw."""
    return {name: value for name, value in found.items() if not name.startswith("parsed")}


@every_dialect
async def test_an_sdk_waits_through_a_slow_tool_because_the_stream_is_kept_alive(dialect: DialectName) -> None:
    """An SDK gives up after half a second without a byte; the tool takes three times that."""

    async def slow(call: ToolCall) -> ToolResult:
        await frames_elsewhere(150, every=0.01)
        return result_of(call)

    toolbox = ScriptedToolbox()
    toolbox.does["search"] = slow
    async with in_process(toolbox=toolbox, tools=ToolSettings(keepalive_interval=0.05)) as house:
        script(house, dialect, True, SEARCHES, DONE)
        async with Conversation(house.url, dialect, stream=True, patience=0.5) as talk:
            await talk.ask()

        assert "It rains." in talk.text

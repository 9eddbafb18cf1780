"""Injected tools seen by the real SDKs over real sockets: one reply, and a conversation that forgets nothing.

The tools are scripted; everything else is what runs in production, the SQLite file of held turns too.
"""

from __future__ import annotations

import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aibridge.interceptor import Interception
from aibridge.server.demo.simulator import ScriptedAnswer
from aibridge.server.sealing import Sealing
from aibridge.stores.sqlite import SqliteConversationStore
from aibridge.tool_settings import ToolSettings
from aibridge.tools import ToolCall, ToolResult
from tests.durable import SetClock, recording
from tests.exchanges import DialectName
from tests.fakes.toolbox import ScriptedToolbox, result_of
from tests.fakes.turns import Call, Says, offered_in, results_in
from tests.house.conversation import Conversation
from tests.house.in_process import InProcess, in_process
from tests.test_keep_alive import frames_elsewhere
from tests.waiting import until

pytestmark = pytest.mark.anyio

DIALECTS: tuple[DialectName, ...] = ("messages", "chat_completions", "responses")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])

SEARCHES = Says(1, "I look it up. ", (Call("call_1"), Call("call_2", arguments={"q": "y"})))
MIXED = Says(2, "Now yours. ", (Call("call_3", "bmcp_wiki_read"), Call("call_4", "weather", {"city": "Nantes"})))
DONE = Says(3, "It rains.")


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


@every_dialect
@both_modes
async def test_a_request_that_is_over_leaves_nothing_that_must_be_looked_for(
    dialect: DialectName, stream: bool
) -> None:
    """What knows itself in a circle stays in memory, with the body of the request, until the collector comes by."""
    async with in_process(toolbox=ScriptedToolbox()) as house:
        script(house, dialect, stream, SEARCHES, DONE)
        before = {id(each) for each in gc.get_objects() if type(each) is Interception}  # what other tests hold
        gc.disable()
        try:
            async with Conversation(house.url, dialect, stream) as talk:
                await talk.ask()
            await until(lambda: {id(each) for each in gc.get_objects() if type(each) is Interception} <= before)
        finally:
            gc.enable()

    assert "It rains." in talk.text

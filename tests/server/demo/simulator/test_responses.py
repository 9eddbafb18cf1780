"""The real OpenAI SDK against the simulated provider's Responses and Conversations."""

import asyncio
import json
import logging
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from tests.server.demo.simulator.conftest import Served

pytestmark = pytest.mark.anyio

MODEL = "gpt-5.4"
EXEC: dict[str, Any] = {
    "type": "function",
    "name": "exec_command",
    "strict": False,
    "parameters": {
        "type": "object",
        "properties": {"cmd": {"type": "string"}, "tty": {"type": "boolean"}},
        "required": ["cmd"],
    },
}


async def events_of(client: openai.AsyncOpenAI, **request: Any) -> list[ResponseStreamEvent]:
    stream: openai.AsyncStream[ResponseStreamEvent] = await client.responses.create(model=MODEL, stream=True, **request)
    return [event async for event in stream]


def completed(events: list[ResponseStreamEvent]) -> Response:
    last = events[-1]
    assert last.type == "response.completed"
    return last.response


async def test_a_blocking_answer_says_what_it_received_and_what_it_cost(served: Served) -> None:
    def ask() -> Response:
        with served.openai() as client:
            return client.responses.create(model=MODEL, input="Good morning", metadata={"a": "b"})

    response = await asyncio.to_thread(ask)

    assert response.status == "completed"
    assert "Good morning" in response.output_text
    assert response.metadata == {"a": "b"}
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    [exchange] = served.provider.ledger
    assert (exchange.response_id, exchange.completed) == (response.id, True)


async def test_a_stream_is_the_providers_own_sequence_of_events(served: Served) -> None:
    async with served.async_openai() as client:
        events = await events_of(client, input="Good morning")

    names = [event.type for event in events]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert names[:5] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
    ]
    assert names[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == completed(events).output_text
    assert events[0].type == "response.created"
    assert (events[0].response.status, events[0].response.usage) == ("in_progress", None)


async def test_the_sdks_own_stream_reader_accepts_every_kind_of_item(served: Served) -> None:
    async with served.async_openai() as client:
        for prompt, tool in (
            ("Use the exec_command tool in parallel", EXEC),
            ("Use the note tool", {"type": "custom", "name": "note"}),
            ("Do a web search for cats", {"type": "web_search"}),
            ("simulate 20 words", EXEC),
        ):
            asked: dict[str, Any] = {"input": prompt, "tools": [tool], "reasoning": {"summary": "auto"}}
            async with client.responses.stream(model=MODEL, **asked) as stream:
                final: Response = await stream.get_final_response()
            assert final.output[0].type == "reasoning"
            assert final.usage is not None


async def test_codex_sees_reasoning_commentary_and_a_call_and_then_a_final_answer(served: Served) -> None:
    items: list[Any] = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Use no tool"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Use your shell tool"}]},
    ]
    request: dict[str, Any] = {
        "tools": [EXEC],
        "reasoning": {"summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    async with served.async_openai() as client:
        first = completed(await events_of(client, input=items, **request))
        reasoning, commentary, call = first.output
        assert call.type == "function_call"
        items += [item.model_dump(exclude_none=True) for item in first.output]
        items.append({"type": "function_call_output", "call_id": call.call_id, "output": "notes.md"})
        second = completed(await events_of(client, input=items, **request))

    assert reasoning.type == "reasoning"
    assert reasoning.encrypted_content
    assert [part.text for part in reasoning.summary] == [
        "The prompt is 19 characters long. I look at what is asked, then answer."
    ]
    assert commentary.type == "message"
    assert commentary.phase == "commentary"
    assert (call.name, json.loads(call.arguments)) == ("exec_command", {"cmd": "ls"})
    assert second.output[-1].type == "message"
    assert second.output[-1].phase == "final_answer"
    assert "notes.md" in second.output_text


async def test_a_tool_in_a_namespace_is_called_with_it(served: Served) -> None:
    namespace = {"type": "namespace", "name": "agents", "description": "Agents", "tools": [{**EXEC, "name": "spawn"}]}
    tools: list[Any] = [EXEC, namespace]
    async with served.async_openai() as client:
        response = await client.responses.create(model=MODEL, input="Call spawn", tools=tools)

    call = response.output[-1]
    assert call.type == "function_call"
    assert (call.namespace, call.name) == ("agents", "spawn")


async def test_a_custom_tool_gets_free_text(served: Served) -> None:
    async with served.async_openai() as client:
        response = await client.responses.create(
            model=MODEL, input="Use the note tool", tools=[{"type": "custom", "name": "note"}]
        )

    call = response.output[-1]
    assert call.type == "custom_tool_call"
    assert call.input == "simulated input 1"


async def test_a_web_search_is_run_by_the_provider_and_cited(served: Served) -> None:
    async with served.async_openai() as client:
        events = await events_of(client, input="Do a web search for cats", tools=[{"type": "web_search"}])

    call, message = completed(events).output
    assert call.type == "web_search_call"
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    assert message.content[0].annotations[0].type == "url_citation"
    searching = [event.type for event in events if event.type.startswith("response.web_search_call")]
    assert [name.rpartition(".")[2] for name in searching] == ["in_progress", "searching", "completed"]


async def test_an_answer_that_does_not_fit_ends_incomplete(served: Served) -> None:
    async with served.async_openai() as client:
        events = await events_of(client, input="simulate 500 words", max_output_tokens=3)

    last = events[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert last.response.usage is not None
    assert last.response.usage.output_tokens == 3


async def test_a_later_response_continues_the_one_that_it_names(served: Served) -> None:
    async with served.async_openai() as client:
        first = await client.responses.create(model=MODEL, input="Use the shell tool", tools=[EXEC])  # type: ignore[list-item]  # a plain dict of the right shape
        call = first.output[-1]
        assert call.type == "function_call"
        second = await client.responses.create(
            model=MODEL,
            previous_response_id=first.id,
            input=[{"type": "function_call_output", "call_id": call.call_id, "output": "notes.md"}],
        )
        held = await client.responses.retrieve(second.id)
        items = [item async for item in client.responses.input_items.list(second.id)]

    assert "notes.md" in second.output_text
    assert second.previous_response_id == first.id
    assert held.output_text == second.output_text
    assert [item.type for item in items] == ["function_call_output", "function_call", "message"]


async def test_what_is_not_stored_or_deleted_is_not_found(served: Served) -> None:
    async with served.async_openai() as client:
        unstored = await client.responses.create(model=MODEL, input="Hi", store=False)
        stored = await client.responses.create(model=MODEL, input="Hi")
        await client.responses.delete(stored.id)
        for response_id in (unstored.id, stored.id, "resp_unknown"):
            with pytest.raises(openai.NotFoundError, match=response_id):
                await client.responses.retrieve(response_id)
            with pytest.raises(openai.NotFoundError) as caught:
                await client.responses.create(model=MODEL, input="And?", previous_response_id=response_id)
            assert caught.value.code == "previous_response_not_found"


async def test_a_conversation_remembers_what_was_said_in_it(served: Served) -> None:
    async with served.async_openai() as client:
        conversation = await client.conversations.create(metadata={"topic": "cats"})
        await client.responses.create(model=MODEL, input="Good morning", conversation=conversation.id)
        second = await client.responses.create(model=MODEL, input="And?", conversation=conversation.id)
        updated = await client.conversations.update(conversation.id, metadata={"topic": "dogs"})
        items = [item async for item in client.conversations.items.list(conversation.id)]
        gone = await client.conversations.delete(conversation.id)
        with pytest.raises(openai.NotFoundError):
            await client.conversations.retrieve(conversation.id)

    assert second.conversation is not None
    assert second.conversation.id == conversation.id
    assert "3 message(s)" in second.output_text
    assert updated.metadata == {"topic": "dogs"}
    assert len(items) == 4
    assert gone.deleted


async def test_a_long_conversation_is_compacted_into_one_sealed_item(served: Served) -> None:
    async with served.async_openai() as client:
        compacted = await client.responses.compact(
            model=MODEL,
            input=[
                {"role": "user", "content": "Good morning"},
                {"role": "assistant", "content": "Good morning to you"},
            ],
        )

    assert [item.type for item in compacted.output][-1] == "compaction"
    assert len(compacted.output) == 2
    assert compacted.usage.total_tokens > 0


async def test_input_tokens_are_counted(served: Served) -> None:
    async with served.async_openai() as client:
        count = await client.responses.input_tokens.count(model=MODEL, input="Good morning")

    assert count.input_tokens > 10


async def test_nothing_is_left_to_cancel(served: Served) -> None:
    async with served.async_openai() as client:
        plain = await client.responses.create(model=MODEL, input="Hi")
        background = await client.responses.create(model=MODEL, input="Hi", background=True)
        with pytest.raises(openai.BadRequestError, match="synchronous"):
            await client.responses.cancel(plain.id)
        cancelled = await client.responses.cancel(background.id)

    assert cancelled.status == "completed"


async def test_a_large_prompt_writes_the_cache_first_and_reads_it_later(served: Served) -> None:
    items: list[Any] = [{"role": "user", "content": "word " * 2000}]
    async with served.async_openai() as client:
        first = await client.responses.create(model=MODEL, input=items)
        items += [item.model_dump(exclude_none=True) for item in first.output]
        items.append({"role": "user", "content": "Go on"})
        second = await client.responses.create(model=MODEL, input=items)

    assert first.usage is not None
    assert second.usage is not None
    assert first.usage.input_tokens_details.cached_tokens == 0
    assert first.usage.input_tokens_details.cache_write_tokens > 2000
    assert second.usage.input_tokens_details.cached_tokens > 2000
    for usage in (first.usage, second.usage):
        details = usage.input_tokens_details
        assert details.cached_tokens + details.cache_write_tokens <= usage.input_tokens


async def test_an_overload_in_mid_stream_is_an_error_event_and_not_an_end(served: Served) -> None:
    async with served.async_openai() as client:
        events = await events_of(client, input="simulate overloaded mid-stream")

    # The SDK hands on the documented, flat form of the event; it raises only for one with an `error` object in it.
    last = events[-1]
    assert last.type == "error"
    assert (last.code, last.sequence_number) == ("server_is_overloaded", len(events) - 1)
    [exchange] = served.provider.ledger
    assert exchange.status == 200


@pytest.mark.parametrize("status", [429, 500])
async def test_an_error_that_was_asked_for_is_the_sdks_own_exception(served: Served, status: int) -> None:
    async with served.async_openai() as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.responses.create(model=MODEL, input=f"simulate error {status}")

    assert caught.value.status_code == status
    assert caught.value.request_id


async def test_an_upgrade_to_a_web_socket_is_refused_with_the_status_that_codex_falls_back_on(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async with served.async_openai() as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.get(
                "/responses",
                cast_to=object,
                options={"headers": {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}},
            )

    assert caught.value.status_code == 426
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

"""The real Anthropic SDK against the simulated provider."""

import asyncio
from typing import Any

import anthropic
import pytest
from anthropic.types import MessageParam, ToolParam

from tests.server.demo.simulator.conftest import Served

pytestmark = pytest.mark.anyio

MODEL = "claude-opus-5-5"
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "kelvin"]}},
        "required": ["city", "unit"],
    },
}


def said(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


async def test_a_blocking_answer_says_what_it_received_and_what_it_cost(served: Served) -> None:
    async with served.async_anthropic() as client:
        message = await client.messages.create(model=MODEL, max_tokens=1000, messages=said("Good morning"))

    assert message.model == MODEL
    assert message.stop_reason == "end_turn"
    assert message.content[0].type == "text"
    assert "Good morning" in message.content[0].text
    assert message.usage.output_tokens > 10
    assert message.usage.service_tier == "standard"
    [exchange] = served.provider.ledger
    assert message.usage.input_tokens == -(-len(exchange.body) // 4)
    assert exchange.response_id == message.id
    assert exchange.usage is not None
    assert exchange.usage["output_tokens"] == message.usage.output_tokens
    assert (exchange.method, exchange.path, exchange.status, exchange.completed) == ("POST", "/v1/messages", 200, True)


async def test_the_same_prompt_gets_the_same_words_in_both_modes_and_from_both_clients(served: Served) -> None:
    def streamed() -> Any:
        with (
            served.anthropic() as client,
            client.messages.stream(model=MODEL, max_tokens=1000, messages=said("Good morning")) as stream,
        ):
            return stream.get_final_message()

    async with served.async_anthropic() as client:
        whole = await client.messages.create(model=MODEL, max_tokens=1000, messages=said("Good morning"))
    message = await asyncio.to_thread(streamed)

    # The streaming request is longer by its `"stream":true`, and the answer says how long the request was.
    longer = len(served.provider.ledger[1].body) - len(served.provider.ledger[0].body)
    before = f"{len(served.provider.ledger[0].body)} bytes"
    assert whole.content[0].type == "text"
    assert message.content[0].text == whole.content[0].text.replace(
        before, f"{len(served.provider.ledger[0].body) + longer} bytes"
    )
    assert message.stop_reason == whole.stop_reason
    assert message.usage.output_tokens == whole.usage.output_tokens


async def test_a_stream_is_the_providers_own_sequence_of_events(served: Served) -> None:
    async with (
        served.async_anthropic() as client,
        client.messages.with_streaming_response.create(
            model=MODEL, max_tokens=1000, messages=said("Hi"), stream=True
        ) as raw,
    ):
        lines = [line async for line in raw.iter_lines()]

    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert names[:3] == ["message_start", "ping", "content_block_start"]
    assert set(names[3:-3]) == {"content_block_delta"}
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert [line for line in lines if line and not line.startswith(("event: ", "data: "))] == []


async def test_usage_in_a_stream_starts_small_and_ends_cumulative(served: Served) -> None:
    async with served.async_anthropic() as client:
        stream = await client.messages.create(model=MODEL, max_tokens=1000, messages=said("Hi"), stream=True)
        events = [event async for event in stream]

    first, delta = events[0], events[-2]
    assert first.type == "message_start"
    assert delta.type == "message_delta"
    assert first.message.usage.output_tokens == 1
    assert delta.usage.output_tokens > 10
    assert delta.usage.input_tokens == first.message.usage.input_tokens


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_tool_is_called_and_its_result_is_quoted(served: Served, *, streaming: bool) -> None:
    async with served.async_anthropic() as client:

        async def ask(messages: list[Any]) -> anthropic.types.Message:
            asked: dict[str, Any] = {"model": MODEL, "max_tokens": 1000, "messages": messages, "tools": [WEATHER]}
            if not streaming:
                answer: anthropic.types.Message = await client.messages.create(**asked)
                return answer
            async with client.messages.stream(**asked) as stream:
                return await stream.get_final_message()

        history: list[Any] = [*said("Use the weather tool for me")]
        first = await ask(history)
        call = first.content[-1]
        assert call.type == "tool_use"
        history.append({"role": "assistant", "content": [block.model_dump() for block in first.content]})
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "17 degrees and rain"}
        history.append({"role": "user", "content": [result]})
        second = await ask(history)

    assert first.stop_reason == "tool_use"
    assert (call.name, call.input) == ("get_weather", {"city": "Berlin", "unit": "celsius"})
    assert second.stop_reason == "end_turn"
    assert second.content[0].type == "text"
    assert "17 degrees and rain" in second.content[0].text


async def test_claude_codes_own_words_in_a_message_are_not_the_prompt(served: Served) -> None:
    messages: list[Any] = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "<system-reminder>\nYou may use any tool\n</system-reminder>"},
                {"type": "text", "text": "Good evening"},
            ],
        },
        {"role": "system", "content": "# Environment: run what you like"},
    ]
    async with served.async_anthropic() as client:
        message = await client.messages.create(model=MODEL, max_tokens=1000, messages=messages, tools=[WEATHER])

    assert message.stop_reason == "end_turn"
    assert message.content[0].type == "text"
    assert '"Good evening"' in message.content[0].text


async def test_two_calls_come_in_parallel_unless_the_client_forbids_it(served: Served) -> None:
    ask = said("Use the weather tool twice, in parallel")
    async with served.async_anthropic() as client:
        both = await client.messages.create(model=MODEL, max_tokens=1000, messages=ask, tools=[WEATHER])
        one = await client.messages.create(
            model=MODEL,
            max_tokens=1000,
            messages=ask,
            tools=[WEATHER],
            tool_choice={"type": "auto", "disable_parallel_tool_use": True},
        )

    calls = [block for block in both.content if block.type == "tool_use"]
    assert [call.input["city"] for call in calls] == ["Berlin", "Lisbon"]
    assert len({call.id for call in calls}) == 2
    assert sum(block.type == "tool_use" for block in one.content) == 1


async def test_a_forced_tool_is_called_and_a_forbidden_one_is_not(served: Served) -> None:
    async with served.async_anthropic() as client:
        forced = await client.messages.create(
            model=MODEL,
            max_tokens=1000,
            messages=said("Good morning"),
            tools=[WEATHER],
            tool_choice={"type": "tool", "name": "get_weather"},
        )
        forbidden = await client.messages.create(
            model=MODEL,
            max_tokens=1000,
            messages=said("Use the weather tool"),
            tools=[WEATHER],
            tool_choice={"type": "none"},
        )

    assert forced.stop_reason == "tool_use"
    assert forbidden.stop_reason == "end_turn"


@pytest.mark.parametrize("streaming", [False, True])
async def test_thinking_comes_first_and_is_signed(served: Served, *, streaming: bool) -> None:
    asked: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 4000,
        "messages": said("Hi"),
        "thinking": {"type": "enabled", "budget_tokens": 2000},
    }
    async with served.async_anthropic() as client:
        if streaming:
            async with client.messages.stream(**asked) as stream:
                message: anthropic.types.Message = await stream.get_final_message()
        else:
            message = await client.messages.create(**asked)

    thought = message.content[0]
    assert thought.type == "thinking"
    assert "2 characters" in thought.thinking
    assert thought.signature
    assert message.usage.output_tokens_details is not None
    assert 0 < message.usage.output_tokens_details.thinking_tokens < message.usage.output_tokens


async def test_omitted_thinking_is_a_signature_without_words(served: Served) -> None:
    async with served.async_anthropic() as client:
        stream = await client.messages.create(
            model=MODEL,
            max_tokens=4000,
            messages=said("Hi"),
            thinking={"type": "adaptive", "display": "omitted"},
            stream=True,
        )
        events = [event async for event in stream]

    deltas = [event.delta for event in events if event.type == "content_block_delta" and event.index == 0]
    assert [delta.type for delta in deltas] == ["signature_delta"]


async def test_a_conversations_first_request_writes_the_cache_and_the_next_reads_it(served: Served) -> None:
    system: list[Any] = [
        {"type": "text", "text": "Be brief. " * 200, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]
    async with served.async_anthropic() as client:
        first = await client.messages.create(model=MODEL, max_tokens=1000, system=system, messages=said("Hi"))
        history: list[MessageParam] = [*said("Hi"), {"role": "assistant", "content": "Hello"}, *said("And now?")]
        second = await client.messages.create(model=MODEL, max_tokens=1000, system=system, messages=history)
        unmarked = await client.messages.create(model=MODEL, max_tokens=1000, messages=history)

    assert first.usage.cache_read_input_tokens == 0
    assert first.usage.cache_creation is not None
    assert first.usage.cache_creation.ephemeral_1h_input_tokens > 400
    assert first.usage.cache_creation_input_tokens == (
        first.usage.cache_creation.ephemeral_1h_input_tokens + first.usage.cache_creation.ephemeral_5m_input_tokens
    )
    assert second.usage.cache_read_input_tokens is not None
    assert second.usage.cache_read_input_tokens > 400
    assert (unmarked.usage.cache_read_input_tokens, unmarked.usage.cache_creation_input_tokens) == (0, 0)
    for message, exchange in zip([first, second, unmarked], served.provider.ledger, strict=True):
        usage = message.usage
        whole = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        assert whole == -(-len(exchange.body) // 4)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_web_search_is_run_by_the_provider_and_cited(served: Served, *, streaming: bool) -> None:
    asked: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 1000,
        "messages": said("Do a web search for cats"),
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
    }
    async with served.async_anthropic() as client:
        if streaming:
            async with client.messages.stream(**asked) as stream:
                message: anthropic.types.Message = await stream.get_final_message()
        else:
            message = await client.messages.create(**asked)

    call, result, text = message.content
    assert call.type == "server_tool_use"
    assert call.input == {"query": "Do a web search for cats"}
    assert result.type == "web_search_tool_result"
    assert result.tool_use_id == call.id
    assert text.type == "text"
    assert text.citations
    assert message.usage.server_tool_use is not None
    assert message.usage.server_tool_use.web_search_requests == 1


async def test_an_answer_that_does_not_fit_is_cut_at_max_tokens(served: Served) -> None:
    async with served.async_anthropic() as client:
        message = await client.messages.create(model=MODEL, max_tokens=3, messages=said("simulate 500 words"))

    assert message.stop_reason == "max_tokens"
    assert message.usage.output_tokens == 3
    assert message.content[0].type == "text"
    assert message.content[0].text == "word1 word2 "


async def test_text_that_must_fit_a_schema_does(served: Served) -> None:
    schema: dict[str, object] = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    async with served.async_anthropic() as client:
        message = await client.messages.create(
            model=MODEL,
            max_tokens=1000,
            messages=said("Give it a title"),
            output_config={"format": {"type": "json_schema", "schema": schema}},
        )

    assert message.content[0].type == "text"
    assert message.content[0].text == '{"title":"simulated title"}'


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (413, anthropic.APIStatusError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.APIStatusError),
    ],
)
async def test_an_error_that_was_asked_for_is_the_sdks_own_exception(
    served: Served, status: int, raised: type[anthropic.APIStatusError]
) -> None:
    async with served.async_anthropic() as client:
        with pytest.raises(raised) as caught:
            await client.messages.create(model=MODEL, max_tokens=9, messages=said(f"simulate error {status}"))

    error = caught.value
    assert error.status_code == status
    assert error.request_id is not None
    assert isinstance(error.body, dict)
    assert error.body["request_id"] == error.request_id
    assert ("retry-after" in error.response.headers) == (status in {429, 529})


async def test_a_models_name_can_ask_for_an_error_too(served: Served) -> None:
    async with served.async_anthropic() as client:
        with pytest.raises(anthropic.RateLimitError):
            await client.messages.create(model="simulate-error-429", max_tokens=9, messages=said("Hi"))


async def test_an_overload_in_mid_stream_is_an_error_event_behind_a_200(served: Served) -> None:
    request: dict[str, Any] = {
        "model": MODEL,
        "max_tokens": 1000,
        "messages": said("simulate overloaded mid-stream"),
        "stream": True,
    }
    async with served.async_anthropic() as client:
        stream = await client.messages.create(**request)
        assert (await anext(stream)).type == "message_start"
        with pytest.raises(anthropic.APIError, match="Overloaded"):
            [event async for event in stream]
        async with client.messages.with_streaming_response.create(**request) as raw:
            lines = [line async for line in raw.iter_lines()]

    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert names.count("content_block_delta") > 2
    assert names[-1] == "error"
    assert "message_stop" not in names


async def test_a_missing_credential_is_refused_and_either_kind_is_taken(served: Served) -> None:
    async with served.async_anthropic() as client:
        key: dict[str, Any] = {"authorization": anthropic.Omit(), "x-api-key": "dummy"}
        neither: dict[str, Any] = {"authorization": anthropic.Omit()}
        for headers in ({}, key):
            await client.messages.create(model=MODEL, max_tokens=9, messages=said("Hi"), extra_headers=headers)
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(model=MODEL, max_tokens=9, messages=said("Hi"), extra_headers=neither)

    bearer, keyed, _ = served.provider.ledger
    assert (bearer.header("authorization"), keyed.header("x-api-key")) == ("Bearer dummy", "dummy")
    assert keyed.header("authorization") is None


async def test_tokens_are_counted_and_models_are_listed_in_anthropics_shape(served: Served) -> None:
    async with served.async_anthropic() as client:
        count = await client.messages.count_tokens(model=MODEL, messages=said("Good morning"))
        models = [model async for model in client.models.list()]
        one = await client.models.retrieve(MODEL)
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("gpt-5.4")

    assert count.input_tokens > 10
    assert {model.type for model in models} == {"model"}
    assert one.id == MODEL
    assert one in models


async def test_bad_bodies_and_unknown_paths_are_refused_in_anthropics_shape(served: Served) -> None:
    async with served.async_anthropic() as client:
        with pytest.raises(anthropic.BadRequestError, match="max_tokens: Field required"):
            await client.post("/v1/messages", body={"model": MODEL, "messages": []}, cast_to=object)
        with pytest.raises(anthropic.BadRequestError, match="JSON"):
            await client.post("/v1/messages", content=b'{"model":', cast_to=object)
        with pytest.raises(anthropic.BadRequestError, match="object"):
            await client.post("/v1/messages", content=b"[]", cast_to=object)
        with pytest.raises(anthropic.NotFoundError, match="/v1/nothing"):
            await client.post("/v1/nothing", body={}, cast_to=object)
        await client.post("/api/event_logging/batch", body={"events": []}, cast_to=object)

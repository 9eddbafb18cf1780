"""The real OpenAI SDK against the simulated provider's Chat Completions, and Copilot's path to them."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageFunctionToolCall

from tests.server.demo.simulator.conftest import Served

pytestmark = pytest.mark.anyio

MODEL = "gpt-5.4"
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def asked(text: str, **more: object) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


async def chunks_of(client: openai.AsyncOpenAI, request: dict[str, Any]) -> list[ChatCompletionChunk]:
    stream: openai.AsyncStream[ChatCompletionChunk] = await client.chat.completions.create(**request, stream=True)
    return [chunk async for chunk in stream]


async def test_a_blocking_answer_says_what_it_received_and_what_it_cost(served: Served) -> None:
    def ask() -> ChatCompletion:
        with served.openai() as client:
            completion: ChatCompletion = client.chat.completions.create(**asked("Good morning"))
            return completion

    completion = await asyncio.to_thread(ask)

    [choice] = completion.choices
    assert choice.finish_reason == "stop"
    assert choice.message.content is not None
    assert "Good morning" in choice.message.content
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    [exchange] = served.provider.ledger
    assert exchange.path == "/v1/chat/completions"
    assert exchange.response_id == completion.id
    assert exchange.completed


async def test_a_stream_says_usage_only_when_it_is_asked_to(served: Served) -> None:
    async with served.async_openai() as client:
        silent = await chunks_of(client, asked("simulate 20 words"))
        telling = await chunks_of(client, asked("simulate 20 words", stream_options={"include_usage": True}))

    for chunks in (silent, telling):
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == " ".join(f"word{number}" for number in range(1, 21))
        assert chunks[0].choices[0].delta.role == "assistant"
        assert len({chunk.id for chunk in chunks}) == 1
    assert all("usage" not in chunk.model_fields_set for chunk in silent)
    assert silent[-1].choices[0].finish_reason == "stop"
    assert all("usage" in chunk.model_fields_set for chunk in telling)
    assert [chunk.usage is None for chunk in telling] == [True] * (len(telling) - 1) + [False]
    assert telling[-1].choices == []


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_tool_is_called_and_its_result_is_quoted(served: Served, *, streaming: bool) -> None:
    request = asked("Use the weather tool", tools=[WEATHER])
    async with served.async_openai() as client:
        if streaming:
            async with client.chat.completions.stream(**request) as stream:
                first: ChatCompletion = await stream.get_final_completion()
        else:
            first = await client.chat.completions.create(**request)
        message = first.choices[0].message
        assert message.tool_calls
        [call] = message.tool_calls
        assert isinstance(call, ChatCompletionMessageFunctionToolCall)
        request["messages"] += [
            {"role": "assistant", "content": None, "tool_calls": [call.model_dump(include={"id", "type", "function"})]},
            {"role": "tool", "tool_call_id": call.id, "content": "17 degrees and rain"},
        ]
        second: ChatCompletion = await client.chat.completions.create(**request)

    assert first.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Berlin"})
    assert second.choices[0].finish_reason == "stop"
    assert "17 degrees and rain" in (second.choices[0].message.content or "")


async def test_two_calls_in_parallel_are_told_apart_by_their_index(served: Served) -> None:
    async with served.async_openai() as client:
        chunks = await chunks_of(client, asked("Use the weather tool twice, in parallel", tools=[WEATHER]))

    arguments = {0: "", 1: ""}
    ids = set()
    for chunk in chunks:
        for call in chunk.choices[0].delta.tool_calls or []:
            assert call.function is not None
            arguments[call.index] += call.function.arguments or ""
            ids.add(call.id)
    assert [json.loads(text) for text in arguments.values()] == [{"city": "Berlin"}, {"city": "Lisbon"}]
    assert len(ids - {None}) == 2


async def test_a_custom_tool_gets_free_text(served: Served) -> None:
    tool = {"type": "custom", "custom": {"name": "note", "description": "Takes a note"}}
    async with served.async_openai() as client:
        completion: ChatCompletion = await client.chat.completions.create(**asked("Use the note tool", tools=[tool]))

    [call] = completion.choices[0].message.tool_calls or []
    assert call.type == "custom"
    assert (call.custom.name, call.custom.input) == ("note", "simulated input 1")


async def test_each_of_n_choices_is_an_answer(served: Served) -> None:
    async with served.async_openai() as client:
        completion: ChatCompletion = await client.chat.completions.create(**asked("Good morning", n=3))
        chunks = await chunks_of(client, asked("Good morning", n=3))

    assert [choice.index for choice in completion.choices] == [0, 1, 2]
    finished = [chunk.choices[0].index for chunk in chunks if chunk.choices[0].finish_reason]
    assert finished == [0, 1, 2]


async def test_reasoning_and_a_long_conversation_show_in_the_usage(served: Served) -> None:
    history = [
        {"role": "user", "content": "word " * 2000},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Go on"},
    ]
    async with served.async_openai() as client:
        completion: ChatCompletion = await client.chat.completions.create(
            **asked("", messages=history, reasoning_effort="high")
        )

    assert completion.usage is not None
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.completion_tokens_details is not None
    cached = completion.usage.prompt_tokens_details.cached_tokens
    assert cached is not None
    assert cached > 2000
    assert cached % 128 == 0
    assert completion.usage.completion_tokens_details.reasoning_tokens


async def test_an_answer_that_does_not_fit_ends_with_length(served: Served) -> None:
    async with served.async_openai() as client:
        completion: ChatCompletion = await client.chat.completions.create(
            **asked("simulate 500 words", max_completion_tokens=3)
        )

    assert completion.choices[0].finish_reason == "length"
    assert completion.choices[0].message.content == "word1 word2 "


async def test_text_that_must_fit_a_schema_does(served: Served) -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    form = {"type": "json_schema", "json_schema": {"name": "titled", "schema": schema}}
    async with served.async_openai() as client:
        completion: ChatCompletion = await client.chat.completions.create(**asked("A title", response_format=form))

    assert completion.choices[0].message.content == '{"title":"simulated title"}'


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_an_error_that_was_asked_for_is_the_sdks_own_exception(
    served: Served, status: int, raised: type[openai.APIStatusError]
) -> None:
    async with served.async_openai() as client:
        with pytest.raises(raised) as caught:
            await client.chat.completions.create(**asked(f"simulate error {status}"))

    assert caught.value.status_code == status
    assert caught.value.request_id
    assert caught.value.type


async def test_an_overload_in_mid_stream_is_an_error_and_not_an_end(served: Served) -> None:
    async with served.async_openai() as client:
        with pytest.raises(openai.APIError, match="Overloaded"):
            await chunks_of(client, asked("simulate overloaded mid-stream"))
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(**asked("simulate overloaded mid-stream"))


async def test_a_key_in_anthropics_header_is_no_key_here(served: Served) -> None:
    headers: dict[str, Any] = {"authorization": openai.Omit(), "x-api-key": "dummy"}
    async with served.async_openai() as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(**asked("Hi"), extra_headers=headers)


async def test_models_are_listed_in_openais_shape(served: Served) -> None:
    async with served.async_openai() as client:
        models = [model async for model in client.models.list()]
        one = await client.models.retrieve(MODEL)
        with pytest.raises(openai.NotFoundError, match="claude"):
            await client.models.retrieve("claude-opus-5-5")

    assert one in models
    assert {model.object for model in models} == {"model"}


async def test_copilot_speaks_on_the_same_address_without_a_version(served: Served) -> None:
    async with served.copilot() as client:
        completion: ChatCompletion = await client.chat.completions.create(**asked("Good morning"))
        response = await client.responses.create(model=MODEL, input="Good morning")
        models = [model async for model in client.models.list()]
        pong = await client.get("/_ping", cast_to=object)

    assert "Good morning" in (completion.choices[0].message.content or "")
    assert "Good morning" in response.output_text
    assert {"claude-opus-5-5", MODEL} < {model.id for model in models}
    assert pong == {"ok": True}
    assert [exchange.path for exchange in served.provider.ledger] == [
        "/chat/completions",
        "/responses",
        "/models",
        "/_ping",
    ]

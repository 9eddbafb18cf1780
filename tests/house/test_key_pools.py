"""A provider whose first key is always at its limit, asked by the real SDKs over real sockets: they notice nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest

from aibridge.metrics import Metrics
from aibridge.server.demo.simulator import ScriptedAnswer
from aibridge.server.demo.simulator.exchange import Incoming
from tests.house.in_process import ADA, InProcess, in_process

pytestmark = pytest.mark.anyio

KEYS = ["sk-one-0123456789abcdef-one", "sk-two-0123456789abcdef-two"]
CLAUDE, GPT = "claude-opus-4-6", "gpt-5"
ASK: Any = [{"role": "user", "content": "Name a river. simulate 5 words"}]
WORDS = "word1 word2 word3 word4 word5"
LIMITED = b'{"type":"error","error":{"type":"rate_limit_error","message":"too many requests","code":"rate_limit"}}'


@dataclass
class Limited:
    """A house with two keys, and clients that do not retry by themselves."""

    house: InProcess
    metrics: Metrics
    claude: anthropic.AsyncAnthropic
    gpt: openai.AsyncOpenAI

    def used(self) -> list[int]:
        """Which key each request at the provider had, from 0."""
        return [key_of(exchange.headers) for exchange in self.house.provider.ledger]

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"aibridge_{name}", labels)


def key_of(headers: Any) -> int:
    said = {name: value.decode().removeprefix("Bearer ") for name, value in headers}
    return KEYS.index(said.get(b"x-api-key") or said[b"authorization"])


def limit(house: InProcess, *places: int) -> None:
    def limited(incoming: Incoming) -> bool:
        return key_of(incoming.headers) in places

    headers = [(b"content-type", b"application/json"), (b"retry-after", b"30")]
    house.provider.script(ScriptedAnswer(429, headers, (LIMITED,), limited, times=None))


@asynccontextmanager
async def limited_house(*places: int) -> AsyncIterator[Limited]:
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        settings = {"key": None, "keys": KEYS}
        house = await stack.enter_async_context(in_process(observer=metrics, settings=settings))
        limit(house, *places)
        claude = anthropic.AsyncAnthropic(base_url=f"{house.url}/anthropic", api_key=ADA, max_retries=0)
        gpt = openai.AsyncOpenAI(base_url=f"{house.url}/openai/v1", api_key=ADA, max_retries=0)
        yield Limited(house, metrics, await stack.enter_async_context(claude), await stack.enter_async_context(gpt))


async def messages(house: Limited, *, stream: bool) -> str:
    if not stream:
        answer = await house.claude.messages.create(model=CLAUDE, max_tokens=100, messages=ASK)
        return answer.content[0].text  # type: ignore[union-attr]  # it is a text, or the test fails
    async with house.claude.messages.stream(model=CLAUDE, max_tokens=100, messages=ASK) as streamed:
        return "".join([text async for text in streamed.text_stream])


async def chat(house: Limited, *, stream: bool) -> str:
    if not stream:
        answer = await house.gpt.chat.completions.create(model=GPT, messages=ASK)
        return answer.choices[0].message.content or ""
    chunks = await house.gpt.chat.completions.create(model=GPT, messages=ASK, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])


async def responses(house: Limited, *, stream: bool) -> str:
    if not stream:
        return (await house.gpt.responses.create(model=GPT, input=ASK)).output_text
    events = await house.gpt.responses.create(model=GPT, input=ASK, stream=True)
    return "".join([event.delta async for event in events if event.type == "response.output_text.delta"])


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
@pytest.mark.parametrize("ask", [messages, chat, responses])
async def test_both_requests_are_served_by_the_second_key(ask: Any, stream: bool) -> None:
    async with limited_house(0) as limited:
        said = [await ask(limited, stream=stream) for _ in range(2)]

        assert said == [WORDS, WORDS]
        assert limited.used() == [0, 1, 1]
        name = "anthropic" if ask is messages else "openai"
        assert limited.value("key_pool_failovers_total", provider=name, reason="rate_limited") == 1
        assert limited.value("key_pool_key_state", provider=name, key="1") == 0.5
        ends = limited.house.recorder.ends
        assert [(end.state, end.credential_hint) for end in ends] == [("completed", "sk-t...-two")] * 2
        assert len(limited.house.recorder.token_usages) == 2


async def test_so_are_requests_that_pass_unread() -> None:
    async with limited_house(0) as limited:
        listed: list[Any] = [await limited.claude.models.list() for _ in range(2)]  # pages of both SDKs
        counted = await limited.claude.messages.count_tokens(model=CLAUDE, messages=ASK)
        listed += [await limited.gpt.models.list() for _ in range(2)]

        assert all(page.data for page in listed)
        assert counted.input_tokens > 0
        assert limited.used() == [0, 1, 1, 1, 0, 1, 1]


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
@pytest.mark.parametrize("ask", [messages, chat, responses])
async def test_with_all_keys_at_their_limits_the_sdk_hears_when_to_come_back(ask: Any, stream: bool) -> None:
    async with limited_house(0, 1) as limited:
        errors: list[Any] = []  # of either SDK
        for _ in range(2):
            with pytest.raises((anthropic.RateLimitError, openai.RateLimitError)) as raised:
                await ask(limited, stream=stream)
            errors.append(raised.value)

        assert limited.used() == [0, 1]
        for error in errors:
            assert 20 <= int(error.response.headers["retry-after"]) <= 30
            assert "all keys of provider" in str(error)
        name = "anthropic" if ask is messages else "openai"
        assert limited.value("key_pool_exhaustions_total", provider=name, reason="rate_limited") == 2
        assert {end.state for end in limited.house.recorder.ends} == {"upstream_error"}

"""A simulated provider on a free port, and the real SDKs pointed straight at it."""

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator


@dataclass(frozen=True)
class Served:
    """A provider that is being served; the SDKs do not retry, so that one call is one exchange."""

    provider: SimulatedProvider
    base_url: str

    def anthropic(self) -> Anthropic:
        return Anthropic(base_url=self.base_url, api_key="dummy", max_retries=0)

    def async_anthropic(self) -> AsyncAnthropic:
        return AsyncAnthropic(base_url=self.base_url, api_key="dummy", max_retries=0)

    def openai(self) -> OpenAI:
        return OpenAI(base_url=f"{self.base_url}/v1", api_key="dummy", max_retries=0)

    def async_openai(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=f"{self.base_url}/v1", api_key="dummy", max_retries=0)

    def copilot(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.base_url, api_key="dummy", max_retries=0)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    numbers = itertools.count(1)
    provider = SimulatedProvider(ids=lambda prefix: f"{prefix}{next(numbers):04}", clock=lambda: 1_800_000_000.0)
    async with serve_simulator(provider) as base_url:
        yield Served(provider, base_url)

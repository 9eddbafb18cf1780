"""The configuration is exchanged again and again while the providers' SDKs ask: no request fails, none goes unrecorded."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionUserMessageParam

from tests.house import books
from tests.house.load import ready
from tests.house.product import BOUND, CENTRAL_KEY, House, house, provider

pytestmark = pytest.mark.anyio

RELOADS = 8
ASK = "simulate 30 words"
READ = "the configuration was read again"


class Clients:
    """Six programs that ask until they are told to stop; nothing is tried twice. `answers` are whole ones."""

    def __init__(self, port: int, key: str) -> None:
        base, timeout = f"http://127.0.0.1:{port}", BOUND
        self._claude = AsyncAnthropic(base_url=f"{base}/anthropic", api_key=key, max_retries=0, timeout=timeout)
        self._gpt = AsyncOpenAI(base_url=f"{base}/openai/v1", api_key=key, max_retries=0, timeout=timeout)
        self._enough = False
        self._answered = asyncio.Condition()
        self.answers = 0

    async def ask(self) -> None:
        """Raises what an SDK raises."""
        async with self._claude, self._gpt, asyncio.TaskGroup() as group:
            for ask in (self._messages, self._chat, self._responses):
                for streaming in (True, False):
                    group.create_task(self._again_and_again(ask, streaming))

    async def _again_and_again(self, ask: object, streaming: bool) -> None:
        assert callable(ask)
        while not self._enough:
            assert await ask(streaming)
            async with self._answered:
                self.answers += 1
                self._answered.notify_all()

    async def more_answers(self, count: int) -> None:
        until = self.answers + count
        async with asyncio.timeout(BOUND), self._answered:
            await self._answered.wait_for(lambda: self.answers >= until)

    def stop(self) -> None:
        self._enough = True

    async def _messages(self, streaming: bool) -> bool:
        asked = {"model": "claude-opus-4-6", "max_tokens": 500, "messages": [{"role": "user", "content": ASK}]}
        if not streaming:
            return (await self._claude.messages.create(**asked)).stop_reason == "end_turn"  # type: ignore[call-overload, no-any-return]  # a dict says no types
        async with self._claude.messages.stream(**asked) as stream:  # type: ignore[arg-type]  # as above
            return (await stream.get_final_message()).stop_reason == "end_turn"

    async def _chat(self, streaming: bool) -> bool:
        said: ChatCompletionUserMessageParam = {"role": "user", "content": ASK}
        if not streaming:
            whole = await self._gpt.chat.completions.create(model="gpt-5", messages=[said])
            return whole.choices[0].finish_reason == "stop"
        stream = await self._gpt.chat.completions.create(model="gpt-5", messages=[said], stream=True)
        return [chunk.choices[0].finish_reason async for chunk in stream if chunk.choices][-1] == "stop"

    async def _responses(self, streaming: bool) -> bool:
        if not streaming:
            return (await self._gpt.responses.create(model="gpt-5", input=ASK)).status == "completed"
        stream = await self._gpt.responses.create(model="gpt-5", input=ASK, stream=True)
        return [event.type async for event in stream][-1] == "response.completed"


async def exchange(own: House, clients: Clients, process: asyncio.subprocess.Process) -> None:
    """Another key, another provider beside, other limits; now and then a file that is none."""
    good = own.config.read_text()
    for number in range(1, RELOADS + 1):
        if number % 3 == 0:
            own.config.write_text(good + "[nonsense]\n")
            process.send_signal(signal.SIGHUP)
            await clients.more_answers(3)
        extra = f'[[providers]]\ntype = "openai"\nname = "openai-{number}"\n[tools]\nmax_turns = {number}\n'
        own.config.write_text(good.replace(CENTRAL_KEY, f"{CENTRAL_KEY}-{number}") + extra)
        process.send_signal(signal.SIGHUP)
        await clients.more_answers(12)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_no_request_fails_while_the_configuration_is_exchanged(tmp_path: Path, workers: str) -> None:
    async with provider(tmp_path, pace=0.002) as (upstream, _), house(tmp_path, upstream) as own:
        key = await own.key()
        async with own.serving("--workers", workers) as process:
            await ready(own.port, process)
            clients = Clients(own.port, key)
            asking = asyncio.create_task(clients.ask())
            await exchange(own, clients, process)
            clients.stop()
            async with asyncio.timeout(BOUND):
                await asking
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(BOUND):
                status = await process.wait()

        states = books.rows(own.database, "SELECT state, count(*) FROM aibridge_interceptions GROUP BY state")
        assert status == 0
        assert clients.answers > RELOADS * 12
        assert [tuple(row) for row in states] == [("completed", clients.answers)]
        assert own.log.count(READ) >= RELOADS / 2  # two signals may come while one reading goes on
        assert f"{CENTRAL_KEY}-" not in own.log

"""What a bridge goes by is exchanged while requests run: those keep what they began with, the next ones do not."""

import asyncio
import json
from typing import Any

import pytest

from aibridge import providers
from aibridge.breaker import BreakerSettings
from aibridge.providers import Provider
from aibridge.tool_settings import ToolSettings
from tests.exchanges import EXCHANGES, MESSAGES, Exchange
from tests.fakes.asgi import asked, call, scope_of
from tests.fakes.house import opened, path_of, problem
from tests.fakes.upstream import EVENT_STREAM, JSON, Scripted
from tests.waiting import until

pytestmark = pytest.mark.anyio

every_dialect = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.dialect for exchange in EXCHANGES])
both_modes = pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
FIRST, SECOND, THIRD = "sk-first-0123456789abcdef", "sk-second-0123456789abcdef", "sk-third-0123456789abcdef"


def both(**settings: Any) -> list[Provider]:
    return [
        providers.anthropic(base_url="http://anthropic.test", **settings),
        providers.openai(base_url="http://openai.test/v1", **settings),
    ]


@every_dialect
@both_modes
async def test_a_request_that_runs_ends_as_it_began_and_the_next_goes_the_new_way(
    exchange: Exchange, stream: bool
) -> None:
    async with opened(providers=both(key=FIRST)) as house:
        gate = asyncio.Event()
        body = exchange.events if stream else (exchange.body,)
        house.upstream.answers.append(Scripted((*body[:1], gate, *body[1:]), 200, (EVENT_STREAM if stream else JSON,)))
        running = call(house.bridge, scope_of(path_of(exchange)), exchange.asked(stream=stream))
        await until(lambda: len(house.upstream.requests) == 1)
        house.bridge.reconfigure(providers=[providers.anthropic(key=SECOND, base_url="http://other.test")])
        gone = await asked(house.bridge, "/openai/v1/models", method="GET")
        gate.set()
        client = await running.done()
        end = house.recorder.end
        if exchange is MESSAGES:
            house.answers(MESSAGES)
            await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=False))

        assert client.status == 200
        assert client.body == b"".join(body)
        assert end.state == "completed"
        assert any(FIRST.encode() in value for _, value in house.upstream.requests[0].headers)
        assert gone.status == 404
        if exchange is MESSAGES:
            assert house.upstream.requests[1].url == "http://other.test/v1/messages"
            assert (b"x-api-key", SECOND.encode()) in house.upstream.requests[1].headers


async def test_a_provider_that_is_switched_off_answers_503_by_name_while_its_stream_goes_on() -> None:
    async with opened(providers=both(key=FIRST)) as house:
        gate = asyncio.Event()
        house.upstream.answers.append(Scripted((*MESSAGES.events[:2], gate, *MESSAGES.events[2:])))
        running = call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=True))
        await running.client.until(1)
        house.bridge.reconfigure(providers=both(key=FIRST, enabled=False))
        refused = await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))
        gate.set()
        client = await running.done()

        assert (refused.status, problem(refused)) == (503, "provider anthropic is switched off")
        assert client.body == b"".join(MESSAGES.events)


async def test_what_cannot_be_changes_nothing() -> None:
    async with opened(providers=both(key=FIRST)) as house:
        with pytest.raises(ValueError, match="given twice"):
            house.bridge.reconfigure(providers=[*both(), *both()], max_body=1)
        house.answers(MESSAGES)
        client = await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=False))

        assert client.status == 200


async def test_limits_and_rules_of_tools_hold_from_the_next_request_on_and_what_is_not_named_stays() -> None:
    async with opened(providers=both(key=FIRST), max_body=100_000) as house:
        house.bridge.reconfigure(tools=ToolSettings(client_mcp="deny"))
        body = json.dumps({**MESSAGES.request, "mcp_servers": [{"name": "x"}]}).encode()
        refused = await asked(house.bridge, path_of(MESSAGES), body)
        house.bridge.reconfigure(max_body=10)
        too_large = await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=True))
        house.bridge.reconfigure(max_body=100_000)
        still_refused = await asked(house.bridge, path_of(MESSAGES), body)

        assert (refused.status, too_large.status, still_refused.status) == (403, 413, 403)


async def test_a_circuit_that_is_open_stays_open() -> None:
    breaker = BreakerSettings(failure_threshold=1)
    async with opened(providers=both(key=FIRST, circuit_breaker=breaker)) as house:
        house.upstream.answers.append(Scripted((b"{}",), 529, (JSON,)))
        await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=False))
        house.bridge.reconfigure(providers=both(key=SECOND, circuit_breaker=breaker))
        client = await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=False))

        assert (client.status, problem(client)) == (503, "circuit breaker is open")


async def test_a_key_is_never_sent_where_another_configuration_points() -> None:
    # The first key is limited while the configuration is exchanged: what follows is the old pool's second key.
    async with opened(providers=both(keys=[FIRST, SECOND])) as house:
        gate = asyncio.Event()
        house.upstream.answers.append(Scripted((b"{}",), 429, (JSON,), (gate,)))
        house.answers(MESSAGES)
        running = call(house.bridge, scope_of(path_of(MESSAGES)), MESSAGES.asked(stream=False))
        await until(lambda: len(house.upstream.requests) == 1)
        house.bridge.reconfigure(providers=[providers.anthropic(base_url="http://other.test", keys=[THIRD])])
        gate.set()
        client = await running.done()

        assert client.status == 200
        assert [request.url for request in house.upstream.requests] == ["http://anthropic.test/v1/messages"] * 2
        assert (b"x-api-key", SECOND.encode()) in house.upstream.requests[1].headers


async def test_secrets_of_the_new_configuration_are_kept_out_of_what_the_provider_says() -> None:
    async with opened(providers=both(keys=[FIRST])) as house:
        house.bridge.reconfigure(providers=both(keys=[SECOND]))
        house.upstream.answers.append(Scripted((b'{"error":{"message":"' + SECOND.encode() + b'"}}',), 400, (JSON,)))
        client = await asked(house.bridge, path_of(MESSAGES), MESSAGES.asked(stream=False))

        assert SECOND.encode() not in client.body

"""Passthrough routes go out with the same keys and the same patience, and have no circuit."""

import json

import pytest

from aibridge import providers
from aibridge.breaker import BreakerSettings
from aibridge.errors import UpstreamUnreachable
from aibridge.notices import FailedOver
from tests.fakes.asgi import asked
from tests.fakes.house import House, opened
from tests.fakes.observer import NotingObserver
from tests.fakes.upstream import JSON, Scripted

pytestmark = pytest.mark.anyio

KEYS = ["sk-one-0123456789abcdef-one", "sk-two-0123456789abcdef-two"]
ROUTES = [
    ("GET", "/anthropic/v1/models"),
    ("POST", "/anthropic/v1/messages/count_tokens"),
    ("GET", "/openai/v1/models"),
]
every_route = pytest.mark.parametrize(("method", "path"), ROUTES)


def pooled(**settings: object) -> dict[str, object]:
    anthropic = providers.anthropic(base_url="http://anthropic.test", keys=KEYS, **settings)  # type: ignore[arg-type]  # any of its settings
    openai = providers.openai(base_url="http://openai.test/v1", keys=KEYS, **settings)  # type: ignore[arg-type]  # any of its settings
    return {"providers": [anthropic, openai]}


def answers(house: House, status: int, *headers: tuple[bytes, bytes]) -> None:
    house.upstream.answers.append(Scripted((b'{"status":%d}' % status,), status, (JSON, *headers)))


def used(house: House) -> list[int]:
    values = [value.decode().removeprefix("Bearer ") for one in house.upstream.requests for _, value in one.headers]
    return [KEYS.index(value) for value in values if value in KEYS]


@every_route
async def test_a_key_at_its_limit_is_left_for_the_next(method: str, path: str) -> None:
    observer = NotingObserver()
    async with opened(observer=observer, **pooled()) as house:
        answers(house, 429, (b"retry-after", b"30"))
        for _ in range(2):
            answers(house, 200)
            client = await asked(house.bridge, path, b"{}", method)
            assert (client.status, client.body) == (200, b'{"status":200}')

    assert used(house) == [0, 1, 1]
    assert FailedOver(provider_name=path.split("/")[1], reason="rate_limited") in observer.notices
    assert len({request.body for request in house.upstream.requests}) == 1


@every_route
async def test_when_no_key_is_left_the_client_hears_when_to_come_back(method: str, path: str) -> None:
    async with opened(**pooled()) as house:
        answers(house, 429, (b"retry-after", b"30"))
        answers(house, 429, (b"retry-after", b"20"))
        clients = [await asked(house.bridge, path, b"{}", method) for _ in range(2)]

    for client in clients:
        assert client.status == 429
        assert 18 <= int(client.header("retry-after") or b"0") <= 20
        assert json.loads(client.body)["error"]["type"] == "rate_limit_error"
    assert len(house.upstream.requests) == 2


async def test_when_all_keys_are_refused_it_is_the_gateways_fault() -> None:
    async with opened(**pooled()) as house:
        answers(house, 401)
        answers(house, 401)
        client = await asked(house.bridge, "/anthropic/v1/models", b"", "GET")

    assert client.status == 502
    assert b"refused all of the gateway's keys" in client.body


async def test_a_request_that_could_not_be_made_is_made_again() -> None:
    async with opened(**pooled(max_retries=1)) as house:
        house.upstream.answers.append(Scripted((), 200, (), (UpstreamUnreachable("no connection"),)))
        answers(house, 200)
        client = await asked(house.bridge, "/anthropic/v1/models", b"", "GET")

    assert (client.status, used(house)) == (200, [0, 0])


async def test_there_is_no_circuit_for_what_passes_unread() -> None:
    async with opened(**pooled(circuit_breaker=BreakerSettings(failure_threshold=1))) as house:
        for _ in range(3):
            answers(house, 503)
            client = await asked(house.bridge, "/anthropic/v1/models", b"", "GET")
            assert (client.status, client.body) == (503, b'{"status":503}')

    assert len(house.upstream.requests) == 3


async def test_a_switched_off_provider_says_so_on_every_route() -> None:
    off = providers.anthropic(base_url="http://anthropic.test", keys=KEYS, enabled=False)
    async with opened(providers=[off]) as house:
        for method, path in (("GET", "/anthropic/v1/models"), ("POST", "/anthropic/v1/messages")):
            client = await asked(house.bridge, path, b"{}", method)
            assert client.status == 503
            assert json.loads(client.body)["error"]["message"] == "provider anthropic is switched off"

    assert house.upstream.requests == []


async def test_what_is_known_of_keys_goes_on_to_a_new_bridge() -> None:
    async with opened(**pooled()) as house:
        answers(house, 429)
        answers(house, 200)
        await asked(house.bridge, "/anthropic/v1/models", b"", "GET")
    async with opened(states=house.bridge.states, **pooled()) as after:
        answers(after, 200)
        await asked(after.bridge, "/anthropic/v1/models", b"", "GET")

    assert (used(house), used(after)) == ([0, 1], [1])

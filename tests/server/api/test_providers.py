"""What the API tells of providers, and to whom."""

import pytest

from aibridge.breaker import Circuit, Permit
from aibridge.credentials import Secret
from aibridge.key_pool import fingerprint
from tests.server.api.conftest import KEYS, Api

pytestmark = pytest.mark.anyio


async def test_whoever_runs_the_gateway_sees_keys_and_circuits(api: Api) -> None:
    state = api.states.of("anthropic")
    assert state is not None
    assert state.breaker is not None
    first, second = (fingerprint(Secret(key)) for key in KEYS)
    state.cool(first, "claude-opus-4-6", 30.0)
    state.refuse(second)
    permit = state.breaker.admit(Circuit("/v1/messages", "claude-opus-4-6"), api.clock.monotonic())
    assert isinstance(permit, Permit)
    state.breaker.failed(permit, api.clock.monotonic())
    answer = await api.get("/providers", api.key("root", "admin", role="admin"))

    assert answer.status_code == 200
    anthropic, openai, copilot = answer.json()["results"]
    assert answer.json()["process"] == 4711
    assert anthropic == {
        "name": "anthropic",
        "type": "anthropic",
        "platform": None,
        "health": "impaired",
        "allow_byok": True,
        "circuit_breaker": True,
        "max_retries": 1,
        "base_url": "https://api.anthropic.com",
        "keys": [
            {
                "hint": "sk-o...-one",
                "state": "cooling",
                "seconds": 30.0,
                "cooling": [{"model": "claude-opus-4-6", "seconds": 30.0}],
            },
            {"hint": "sk-t...-two", "state": "refused", "seconds": 60.0, "cooling": []},
        ],
        "circuits": [{"endpoint": "/v1/messages", "model": "claude-opus-4-6", "state": "open"}],
    }
    assert (openai["health"], openai["base_url"], openai["circuits"]) == ("ok", "http://10.0.0.5/v1", [])
    assert [key["state"] for key in openai["keys"]] == ["usable"]
    assert (copilot["health"], copilot["keys"]) == ("off", [])
    assert not any(key in answer.text for key in KEYS)


async def test_members_see_names_and_health_only(api: Api) -> None:
    answer = await api.get("/providers", api.key("alice"))

    assert answer.status_code == 200
    found = {one["name"]: one for one in answer.json()["results"]}
    assert {name: one["health"] for name, one in found.items()} == {"anthropic": "ok", "openai": "ok", "copilot": "off"}
    assert all(one["base_url"] is one["keys"] is one["circuits"] is None for one in found.values())


async def test_nobody_else_sees_anything(api: Api) -> None:
    assert (await api.get("/providers")).status_code == 401
    assert (await api.get("/providers", api.key("alice", "use"))).status_code == 403

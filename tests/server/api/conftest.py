"""The API over a database with two people's interceptions, asked in process."""

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from aibridge import BreakerSettings, MemoryRecorder, ProviderStates, RequestBridge, providers
from aibridge.clock import new_id
from aibridge.server.api.app import management_app
from aibridge.server.api.providers import providers_shown
from aibridge.server.auth.authenticator import GatewayAuthenticator
from aibridge.server.auth.bad_tokens import BadTokens
from aibridge.server.people import People
from aibridge.server.persons import Role, Scope
from aibridge.server.reading import Reading
from tests.durable import Recording, SetClock, ended, interception, prompt, recording, thought, tool, usage

KEYS = ["sk-one-0123456789abcdef-one", "sk-two-0123456789abcdef-two"]
PROVIDERS = [
    providers.anthropic(keys=KEYS, circuit_breaker=BreakerSettings(failure_threshold=1), max_retries=1),
    providers.openai(key=KEYS[0], base_url="http://10.0.0.5/v1"),
    providers.copilot(enabled=False),
]


@dataclass
class Api:
    """A client for the API. `ids` are those of the interceptions by their owner's name, oldest first."""

    client: httpx2.AsyncClient
    people: People
    ids: dict[str, list[str]]
    states: ProviderStates
    clock: SetClock

    def key(self, user: str, *scopes: Scope, role: Role = "member") -> str:
        owner = self.people.ensure_user(user, role=role)
        return self.people.create_key(owner.id, name="test", scopes=scopes or ("use", "read:own")).secret

    async def get(self, path: str, key: str | None = None, **parameters: str) -> httpx2.Response:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return await self.client.get(f"/api/v2/aibridge{path}", headers=headers, params=parameters or None)

    async def listed(self, key: str, **parameters: str) -> list[str]:
        answer = await self.get("/interceptions", key, **parameters)
        assert answer.status_code == 200, answer.text
        return [found["id"] for found in answer.json()["results"]]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    clock = SetClock()
    async with recording(tmp_path) as at_work:
        with (
            closing(People(at_work.file, hash_key=bytes(32), clock=clock, ids=new_id)) as people,
            closing(Reading(at_work.file, clock)) as reading,
        ):
            ids = {name: await _recorded(at_work, people, name) for name in ("alice", "bob")}
            bridge = RequestBridge(providers=PROVIDERS, recorder=MemoryRecorder(), clock=clock)
            shown = partial(providers_shown, PROVIDERS, bridge.states, process=4711)
            app: Any = management_app(reading, GatewayAuthenticator(people, BadTokens(), clock), clock, shown)
            transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
                yield Api(client, people, ids, bridge.states, clock)


async def _recorded(at_work: Recording, people: People, name: str) -> list[str]:
    owner = people.create_user(name)
    made = []
    for number in range(3):
        record = interception(initiator=owner.id, at=number, session=f"{name}-{number}", model=f"model-{number}")
        made.append(record.id)
        await at_work.recorder.record_interception(record)
        await at_work.recorder.record_prompt_usage(prompt(record.id, f"asked by {name}"))
        await at_work.recorder.record_token_usage(usage(record.id))
        await at_work.recorder.record_tool_usage(tool(record.id, arguments={"path": "a.py"}))
        await at_work.recorder.record_model_thought(thought(record.id))
        await at_work.recorder.record_interception_ended(ended(record.id))
    return made

"""The product with aliases and lists of models: what an SDK asks, what the provider hears, what is on record."""

from __future__ import annotations

import json
from pathlib import Path

import anthropic
import pytest

from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from tests.server.installation import Installation

pytestmark = pytest.mark.anyio


async def test_people_ask_by_names_of_the_house_and_only_for_what_their_group_may_use(tmp_path: Path) -> None:
    provider = SimulatedProvider()
    async with serve_simulator(provider) as provider_url:
        own = Installation(tmp_path, provider, provider_url)
        file = own.configure('[models.allow]\ninterns = ["claude-haiku-*"]\n')
        file.write_text(
            file.read_text().replace(
                '"anthropic"\n', '"anthropic"\nmodels = { "fast" = "claude-haiku-4-5", "best" = "claude-opus-4-6" }\n'
            )
        )
        config = ("--config", str(file))
        await own.run("users", "create", "ada", "--group", "interns", *config)
        key = await own.key("ada")
        async with own.serving() as server:
            client = anthropic.AsyncAnthropic(base_url=f"{server.url}/anthropic", auth_token=key, max_retries=0)
            async with client:
                said = [{"role": "user", "content": "hello"}]
                answer = await client.messages.create(model="fast", max_tokens=500, messages=said)  # type: ignore[arg-type]  # a dict says no types
                with pytest.raises(anthropic.PermissionDeniedError, match="'claude-opus-4-6' is not among those"):
                    await client.messages.create(model="best", max_tokens=500, messages=said)  # type: ignore[arg-type]  # as above
        listed = (await own.run("interceptions", "list", *config, "--json")).json()["results"]
        shown = (await own.run("config", "show", *config)).out

    assert answer.stop_reason == "end_turn"
    assert [json.loads(exchange.body)["model"] for exchange in provider.ledger] == ["claude-haiku-4-5"]
    assert [(found["model"], found["state"], found["metadata"]["requested_model"]) for found in listed] == [
        ("claude-opus-4-6", "rejected", "best"),
        ("claude-haiku-4-5", "completed", "fast"),
    ]
    assert "models.allow" in shown

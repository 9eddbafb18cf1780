"""GitHub Copilot: three hosts for three plans, three dialects with the users' own tokens, and what editors ask besides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI, AuthenticationError

from aibridge import MemoryRecorder, RequestBridge
from aibridge.server.config import load
from aibridge.server.configured_providers import configured_providers
from aibridge.server.demo.simulator import Exchange, SimulatedProvider, serve_simulator
from tests.house.in_process import ADA, Keyring, served

pytestmark = pytest.mark.anyio

PLANS = ("individual", "business", "enterprise")
TOKEN = "tid=0123456789abcdef;exp=1794000000;sku=copilot_enterprise_seat:deadbeef"  # of the shape of Copilot's own
OURS = {"X-AIBridge-Token": ADA}
# What an editor sends with each request, and what the provider must see as it was.
OF_THE_EDITOR = {
    "editor-version": "vscode/1.104.0",
    "editor-plugin-version": "copilot-chat/0.31.0",
    "copilot-integration-id": "vscode-chat",
    "x-github-api-version": "2025-05-01",
    "x-initiator": "agent",
    "x-interaction-id": "5f0c",
    "openai-intent": "conversation-agent",
    "copilot-vision-request": "true",
    "user-agent": "GitHubCopilotChat/0.31.0",
}


@dataclass(frozen=True)
class House:
    url: str
    hosts: dict[str, SimulatedProvider]
    recorder: MemoryRecorder

    def asked(self, plan: str) -> list[Exchange]:
        return list(self.hosts[plan].ledger)


@asynccontextmanager
async def house(folder: Path, *plans: str) -> AsyncIterator[House]:
    """The instances of the how-to page, with loopback hosts in the place of GitHub's."""
    hosts = {plan: SimulatedProvider() for plan in plans}
    async with AsyncExitStack() as stack:
        tables = []
        for plan, host in hosts.items():
            url = await stack.enter_async_context(serve_simulator(host))
            tables.append(f'[[providers]]\ntype = "copilot"\nname = "copilot-{plan}"\nbase_url = "{url}"\n')
        file = folder / "aibridge.toml"
        file.write_text("".join(tables))
        recorder = MemoryRecorder()
        bridge = RequestBridge(
            providers=configured_providers(load(file, {}), {}), recorder=recorder, authenticator=Keyring()
        )
        yield House(await stack.enter_async_context(served(bridge)), hosts, recorder)


async def test_each_plan_has_its_host_and_nobody_elses_token_goes_there(tmp_path: Path) -> None:
    async with house(tmp_path, *PLANS) as own:
        for plan in PLANS:
            async with AsyncOpenAI(
                base_url=f"{own.url}/copilot-{plan}", api_key=f"{TOKEN}-{plan}", default_headers=OURS
            ) as client:
                await client.chat.completions.create(model=plan, messages=[{"role": "user", "content": "Hi"}])

    for plan in PLANS:
        [exchange] = own.asked(plan)
        assert exchange.header("authorization") == f"Bearer {TOKEN}-{plan}"
    assert [(each.provider, each.provider_name, each.model) for each in own.recorder.interceptions] == [
        ("copilot", f"copilot-{plan}", plan) for plan in PLANS
    ]


async def test_all_three_dialects_in_both_modes_with_the_headers_of_the_editor(tmp_path: Path) -> None:
    headers = {**OURS, **OF_THE_EDITOR}
    async with (
        house(tmp_path, "business") as own,
        AsyncOpenAI(base_url=f"{own.url}/copilot-business", api_key=TOKEN, default_headers=headers) as gpt,
        AsyncAnthropic(base_url=f"{own.url}/copilot-business", auth_token=TOKEN, default_headers=headers) as claude,
    ):
        completion = await gpt.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
        chunks = await gpt.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}], stream=True)
        streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
        assert streamed.startswith("This is m")
        assert (completion.choices[0].message.content or "").startswith("This is m")
        response = await gpt.responses.create(model="m", input="Hi")
        async with gpt.responses.stream(model="m", input="Hi") as events:
            assert (await events.get_final_response()).output_text.startswith("This is m")
        assert response.output_text.startswith("This is m")
        message = await claude.messages.create(model="m", max_tokens=500, messages=[{"role": "user", "content": "Hi"}])
        async with claude.messages.stream(
            model="m", max_tokens=500, messages=[{"role": "user", "content": "Hi"}]
        ) as stream:
            assert (await stream.get_final_text()).startswith("This is m")
        assert message.stop_reason == "end_turn"

    asked = own.asked("business")
    assert [one.path for one in asked] == [
        *["/chat/completions"] * 2, *["/responses"] * 2, *["/v1/messages"] * 2
    ]  # fmt: skip
    for one in asked:
        assert one.header("authorization") == f"Bearer {TOKEN}"
        assert {name: one.header(name) for name in OF_THE_EDITOR} == OF_THE_EDITOR
        # The bearer says who it is: no identifier of ours is added to what Copilot is sent.
        assert not any(
            word in one.body for word in (b'"user":', b'"user" :', b"safety_identifier", b"metadata", b'"ada"')
        )
        assert ADA not in repr(one)
    kept = own.recorder.interceptions
    assert {(each.client, each.client_session_id) for each in kept} == {("GitHub Copilot (VS Code)", "5f0c")}
    assert {(each.credential_kind, each.upstream_user, each.initiator_id) for each in kept} == {("byok", None, "ada")}
    assert len(own.recorder.token_usages) == 6
    assert {end.state for end in own.recorder.ends} == {"completed"}


async def test_what_an_editor_asks_besides_passes_through_with_its_token(tmp_path: Path) -> None:
    async with (
        house(tmp_path, "enterprise") as own,
        httpx2.AsyncClient(
            base_url=f"{own.url}/copilot-enterprise",
            headers={**OURS, **OF_THE_EDITOR, "authorization": f"Bearer {TOKEN}"},
        ) as editor,
    ):
        paths = ("/models", "/models/gpt-5", "/agents/swe/jobs", "/mcp/readonly", "/_ping", "/auto")
        answers = {path: (await editor.get(path)).status_code for path in paths}
        answers["session"] = (await editor.post("/models/session", json={"auto_mode": {}})).status_code
        refused = [
            (await editor.get("/nothing/known")).status_code,
            (await editor.get("/chat/completions")).status_code,
            (await editor.delete("/models/gpt-5")).status_code,
        ]

    assert refused == [404, 405, 405]
    asked = own.asked("enterprise")
    assert [(one.method, one.path) for one in asked] == [
        *[("GET", path) for path in paths],
        ("POST", "/models/session"),
    ]
    assert all(one.header("authorization") == f"Bearer {TOKEN}" for one in asked)
    assert all(one.header("copilot-integration-id") == "vscode-chat" for one in asked)
    assert answers["/models"] == 200
    assert own.recorder.interceptions == []


async def test_without_a_token_of_ones_own_the_message_says_what_to_send(tmp_path: Path) -> None:
    async with (
        house(tmp_path, "individual") as own,
        AsyncOpenAI(base_url=f"{own.url}/copilot-individual", api_key=ADA, max_retries=0) as client,
    ):
        with pytest.raises(AuthenticationError, match="needs your own Copilot token"):
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])

    assert own.asked("individual") == []

"""What the SDK's own client for Azure sends, and what its plain client sends through the gateway: the same."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from aibridge import MemoryRecorder, RequestBridge
from aibridge.errors import Header
from aibridge.server.config import Wrong, load
from aibridge.server.configured_providers import configured_providers
from tests.house.in_process import ADA, Keyring, served
from tests.upstream.raw_provider import Peer, RawProvider, raw_provider

pytestmark = pytest.mark.anyio

KEY = "0123456789abcdef0123456789abcdef"
DATED = "2025-04-01-preview"
COMPLETION = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5-2025-08-07",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip
RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 1, "model": "our-gpt-5", "status": "completed", "tools": [],
    "output": [], "parallel_tool_calls": True, "tool_choice": "auto",
    "usage": {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
}  # fmt: skip
MODELS = {"object": "list", "data": [{"id": "gpt-5", "object": "model", "created": 1, "owned_by": "us"}]}


async def azure_resource(peer: Peer) -> None:
    while True:
        head = await peer.request()
        path = head.split(b" ")[1]
        answer = RESPONSE if b"/responses" in path else MODELS if b"/models" in path else COMPLETION
        body = json.dumps(answer).encode()
        await peer.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        )


@asynccontextmanager
async def gateway(folder: Path, endpoint: str, version: str) -> AsyncIterator[tuple[str, MemoryRecorder]]:
    file = folder / "aibridge.toml"
    file.write_text(f"""
        [[providers]]
        type = "openai"
        name = "azure"
        base_url = "{endpoint}"
        keys = ["{KEY}"]
        upstream_user = "off"
        [providers.azure]
        {version}
        deployments = {{ "gpt-5" = "our-gpt-5" }}
    """)
    recorder = MemoryRecorder()
    bridge = RequestBridge(
        providers=configured_providers(load(file, {}), {}), recorder=recorder, authenticator=Keyring()
    )
    async with served(bridge) as url:
        yield f"{url}/azure/v1", recorder


async def the_same_three_calls(client: AsyncOpenAI, model: str) -> None:
    said: list[Any] = [{"role": "user", "content": "Hello"}]
    completion = await client.chat.completions.create(model=model, messages=said)
    assert completion.choices[0].message.content == "Hello."
    assert (await client.responses.create(model=model, input="Hello")).id == "resp_1"
    assert [each.id async for each in client.models.list()] == ["gpt-5"]


def exchanges(provider: RawProvider) -> list[tuple[bytes, dict[bytes, bytes], Any]]:
    """Line, headers and body of each request, in their order."""
    told = []
    for peer in provider.peers:
        for head, body in zip(peer.heads, peer.bodies, strict=True):
            line, *rest = head.strip().split(b"\r\n")
            pairs: list[Header] = [
                (name.lower(), value.strip()) for name, _, value in (one.partition(b":") for one in rest)
            ]
            told.append((line, dict(pairs), json.loads(body) if body else None))
    return told


# What belongs to one connection, or to passthrough.
OF_THE_HOP = {b"host", b"connection", b"accept-encoding", b"content-length", b"user-agent"}
OF_PASSTHROUGH = {b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"}


@pytest.mark.parametrize("dated", [True, False], ids=["a dated version", "v1"])
async def test_the_gateway_sends_what_the_sdks_own_client_for_azure_sends(tmp_path: Path, dated: bool) -> None:
    async with raw_provider(azure_resource) as direct, raw_provider(azure_resource) as behind:
        own: AsyncOpenAI
        if dated:
            own = AsyncAzureOpenAI(azure_endpoint=direct.url, api_version=DATED, api_key=KEY, max_retries=0)
        else:
            own = AsyncOpenAI(base_url=f"{direct.url}/openai/v1", api_key=KEY, max_retries=0)
        version = f'api_version = "{DATED}"' if dated else ""
        async with own, gateway(tmp_path, behind.url, version) as (url, recorder):
            await the_same_three_calls(own, "our-gpt-5")
            async with AsyncOpenAI(base_url=url, api_key=ADA, max_retries=0) as plain:
                await the_same_three_calls(plain, "gpt-5")

    for theirs, ours in zip(exchanges(direct), exchanges(behind), strict=True):
        assert ours[0] == theirs[0]
        assert ours[2] == theirs[2]
        headers = {name: value for name, value in theirs[1].items() if name not in OF_THE_HOP}
        if not dated:  # the plain client has no header for Azure, which takes either
            assert headers.pop(b"authorization") == b"Bearer " + KEY.encode()
            headers[b"api-key"] = KEY.encode()
        found = {name: value for name, value in ours[1].items() if name not in OF_THE_HOP | OF_PASSTHROUGH}
        assert found == headers
    assert [record.model for record in recorder.interceptions] == ["gpt-5", "gpt-5"]
    assert sum(usage.input_tokens for usage in recorder.token_usages) == 6


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('type = "anthropic"\n[providers.azure]', "azure is for providers of the type openai"),
        ('type = "anthropic"\n[providers.azure]\n[providers.bedrock]', "azure: must not be set beside bedrock"),
        ('type = "openai"\n[providers.azure]', "base_url is required: the endpoint of the resource at Azure"),
        ('type = "openai"\nbase_url = "https://x"\n[providers.azure]\napi_version = "9"', "api_version of provider"),
    ],
)
def test_a_table_that_cannot_be_stops_the_start(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "aibridge.toml"
    file.write_text(f"[[providers]]\n{text}")

    with pytest.raises(Wrong, match=told):
        configured_providers(load(file, {}), {})

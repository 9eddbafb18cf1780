"""A real SDK, the gateway, a proxy and a provider, with settings as they are written down."""

import base64
from pathlib import Path

import pytest
from openai import AsyncOpenAI

from aibridge import MemoryRecorder, RequestBridge
from aibridge.server.config import load
from aibridge.server.configured_providers import configured_providers
from aibridge.server.demo.simulator import SimulatedProvider, serve_simulator
from tests.fakes.proxy import fake_proxy
from tests.house.in_process import ADA, Keyring, served

pytestmark = pytest.mark.anyio


async def test_a_request_and_a_list_of_models_go_through_the_proxy_that_the_environment_names(tmp_path: Path) -> None:
    file = tmp_path / "aibridge.toml"
    file.write_text('[[providers]]\ntype = "openai"\nbase_url = "http://provider.example:99/v1"\nkeys = ["sk-central"]')
    recorder = MemoryRecorder()
    async with serve_simulator(SimulatedProvider()) as url, fake_proxy(url, user="ada:hunter2hunter2") as proxy:
        environ = {"HTTP_PROXY": proxy.url, "NO_PROXY": "other.example"}
        bridge = RequestBridge(
            providers=configured_providers(load(file, {}), environ), recorder=recorder, authenticator=Keyring()
        )
        async with (
            served(bridge) as gateway,
            AsyncOpenAI(api_key=ADA, base_url=f"{gateway}/openai/v1", max_retries=0) as client,
        ):
            stream = await client.chat.completions.create(
                model="gpt-5", messages=[{"role": "user", "content": "Say hello"}], stream=True
            )
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
            models = [model.id async for model in client.models.list()]

    assert text
    assert models
    assert [type(record).__name__ for record in recorder.records][:1] == ["InterceptionRecord"]
    assert proxy.heads[0].startswith(b"POST http://provider.example:99/v1/chat/completions HTTP/1.1\r\n")
    token = base64.b64encode(b"ada:hunter2hunter2")
    assert b"\r\nproxy-authorization: Basic " + token in proxy.heads[0]
    assert not any("hunter2" in repr(record) for record in recorder.records)

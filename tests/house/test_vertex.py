"""Claude on Google Cloud over real sockets: the anthropic SDK before the gateway, a Vertex AI of the test's behind it.

The SDK's own client for Vertex asks the same one directly, and what it sends is compared field by field.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anthropic import APIStatusError, AsyncAnthropic, AsyncAnthropicVertex

from aibridge import MemoryRecorder, RequestBridge
from aibridge.google_cloud import GoogleCredentials
from aibridge.providers.vertex import vertex
from tests.exchanges import MESSAGES
from tests.fakes.cloud_http import Answer
from tests.fakes.google import PROJECT, FakeGoogle, fake_google
from tests.house.in_process import ADA, Keyring, served

pytestmark = pytest.mark.anyio

REGION = "us-east5"
EVENT_STREAM = (b"content-type", b"text/event-stream; charset=utf-8")
QUESTION: dict[str, Any] = {
    "model": "claude-of-the-house",
    "max_tokens": 4000,
    "messages": [{"role": "user", "content": "What is the weather in Nantes? \u00e9"}],
    "system": "Be brief.",
    "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
}


@dataclass
class House:
    google: FakeGoogle
    recorder: MemoryRecorder
    url: str
    client: Any  # the SDK, in front of the gateway
    direct: Any  # the SDK's own client for Vertex AI, in front of the same one

    @property
    def end(self) -> Any:
        (end,) = self.recorder.ends
        return end


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[House]:
    async with fake_google() as google:
        credentials = GoogleCredentials(file=google.key_file(folder))
        base_url = f"{google.url}/v1"
        provider = vertex(credentials=credentials, project=PROJECT, region=REGION, base_url=base_url, **settings)
        recorder = MemoryRecorder()
        bridge = RequestBridge(providers=[provider], recorder=recorder, authenticator=Keyring())
        async with (
            served(bridge) as url,
            AsyncAnthropic(base_url=f"{url}/vertex", api_key=ADA, max_retries=0) as client,
            AsyncAnthropicVertex(
                access_token="ya29.direct", project_id=PROJECT, region=REGION, base_url=base_url, max_retries=0
            ) as direct,
        ):
            yield House(google, recorder, url, client, direct)


def answered(target: str) -> Answer:
    if "count-tokens" in target:
        return Answer([b'{"input_tokens":17}'])
    return Answer(MESSAGES.events, 200, [EVENT_STREAM]) if "stream" in target else Answer([MESSAGES.body])


async def test_answers_pass_byte_for_byte_and_are_recorded(tmp_path: Path) -> None:
    async with opened(tmp_path) as house, httpx2.AsyncClient(headers={"x-api-key": ADA}) as plain:
        house.google.answer = lambda asked: answered(asked.target)
        url = f"{house.url}/vertex/v1/messages?beta=true"
        stream = await plain.post(url, json={**QUESTION, "stream": True})
        whole = await plain.post(url, json={**QUESTION, "model": "claude-a-20250101"})

    assert (stream.status_code, stream.content) == (200, MESSAGES.stream)
    assert (whole.status_code, whole.content) == (200, MESSAGES.body)
    assert [end.state for end in house.recorder.ends] == ["completed"] * 2
    assert [end.credential_hint for end in house.recorder.ends] == ["gate....com"] * 2
    assert [started.model for started in house.recorder.interceptions] == [QUESTION["model"], "claude-a@20250101"]
    assert [usage.output_tokens for usage in house.recorder.token_usages] == [MESSAGES.final.output] * 2
    assert {asked.headers["authorization"] for asked in house.google.asked} == {f"Bearer {house.google.token}"}
    assert len(house.google.assertions) == 1


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
async def test_vertex_gets_what_the_sdks_own_client_sends(tmp_path: Path, stream: bool) -> None:
    async with opened(tmp_path, upstream_user="off") as house:
        house.google.answer = lambda asked: answered(asked.target)
        for client in (house.client, house.direct):
            betas = ["interleaved-thinking-2025-05-14", "context-1m-2025-08-07"]
            said = await client.beta.messages.create(**QUESTION, betas=betas, stream=stream)
            if stream:
                assert [event async for event in said][-1].type == "message_stop"
    ours, theirs = house.google.asked

    assert (ours.method, ours.target) == (theirs.method, theirs.target)
    # The SDK's newest versions name their own version of the API there, and say `stream: false`.
    assert ours.json == {**theirs.json, "anthropic_version": "vertex-2023-10-16"}
    for name in ("accept", "content-type", "x-stainless-lang", "anthropic-beta", "host"):
        assert ours.headers[name] == theirs.headers[name]
    assert "x-api-key" not in ours.headers


async def test_tokens_are_counted_as_the_sdks_own_client_does(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        house.google.answer = lambda asked: answered(asked.target)
        for client in (house.client, house.direct):
            asked = {name: QUESTION[name] for name in ("model", "messages", "system")}
            assert (await client.messages.count_tokens(**asked)).input_tokens == 17
    ours, theirs = house.google.asked

    assert (ours.method, ours.target) == (theirs.method, theirs.target)
    assert ours.json == {**theirs.json, "anthropic_version": "vertex-2023-10-16"}
    assert house.recorder.records == []


async def test_the_person_is_named_as_at_anthropic(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        house.google.answer = lambda asked: answered(asked.target)
        await house.client.messages.create(**QUESTION)

    assert house.google.asked[0].json["metadata"] == {"user_id": "ada"}
    assert house.recorder.interceptions[0].upstream_user == "ada"


@pytest.mark.parametrize(("status", "shown", "named"), [(429, 429, "rate_limit_error"), (403, 502, "api_error")])
@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
async def test_an_error_is_anthropics(tmp_path: Path, stream: bool, status: int, shown: int, named: str) -> None:
    async with opened(tmp_path) as house:
        body = json.dumps([{"error": {"code": status, "message": "no, ya29.token-1-of-engines"}}]).encode()
        house.google.answer = lambda _: Answer([body], status)
        with pytest.raises(APIStatusError) as raised:
            await house.client.messages.create(**QUESTION, stream=stream)

    told: Any = raised.value.body
    assert (raised.value.status_code, told["error"]["type"]) == (shown, named)
    assert told["error"]["message"].endswith("no, [redacted]")
    assert (house.end.state, house.end.error_type) == ("upstream_error", named)


@pytest.mark.parametrize("own", [{"x-api-key": "sk-of-my-own-0123456789"}, {"authorization": "Bearer my-own-012"}])
async def test_a_credential_of_the_callers_own_is_refused(tmp_path: Path, own: dict[str, str]) -> None:
    async with opened(tmp_path) as house, httpx2.AsyncClient() as plain:
        headers = {"x-aibridge-token": ADA, **own}
        answer = await plain.post(f"{house.url}/vertex/v1/messages", json=QUESTION, headers=headers)

    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    assert house.google.asked == []


async def test_no_token_is_a_502_and_leaves_a_record(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        house.google.refuses = True
        with pytest.raises(APIStatusError, match="Google credentials cannot be had") as raised:
            await house.client.messages.create(**QUESTION)

    assert raised.value.status_code == 502
    assert (house.end.state, house.end.error_type) == ("upstream_error", "connection_error")
    assert house.google.asked == []


async def test_a_stream_that_breaks_never_looks_whole(tmp_path: Path) -> None:
    async with opened(tmp_path) as house:
        house.google.answer = lambda _: Answer(MESSAGES.events[:-1], 200, [EVENT_STREAM], cut=True)
        with pytest.raises(APIStatusError):
            async for _ in await house.client.messages.create(**QUESTION, stream=True):
                pass

    assert house.end.state == "upstream_error"

"""The product with a provider in reserve, over sockets: an SDK is answered, and everybody can see by whom."""

from __future__ import annotations

from pathlib import Path

import anthropic
import pytest

from aibridge import MemoryRecorder, RequestBridge, providers
from aibridge.aws import AwsCredentials
from aibridge.credentials import Secret
from aibridge.providers.bedrock import bedrock
from aibridge.server.demo.simulator import ScriptedAnswer, SimulatedProvider, serve_simulator
from aibridge.server.demo.simulator.exchange import Incoming
from tests.exchanges import MESSAGES
from tests.fakes.aws import ACCESS_KEY, REGION, SECRET_KEY, fake_aws
from tests.fakes.bedrock import EVENT_STREAM, chunks
from tests.fakes.cloud_http import Answer
from tests.house.in_process import ADA, Keyring, served
from tests.server.installation import CENTRAL_KEY, Installation

pytestmark = pytest.mark.anyio

SPARE_KEY = "spare-key-of-the-organisation"
OVERLOADED = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
SPARE = """
[[providers]]
type = "anthropic"
name = "spare"
base_url = "{url}/"
keys = ["env:SPARE_KEY"]
models = {{ "claude-opus-4-6" = "claude-haiku-4-5" }}
"""


def of_the_first(incoming: Incoming) -> bool:
    return dict(incoming.headers).get(b"x-api-key") == CENTRAL_KEY.encode()


async def test_an_overloaded_providers_requests_are_answered_by_the_one_in_reserve(tmp_path: Path) -> None:
    provider = SimulatedProvider()
    headers = [(b"content-type", b"application/json")]
    provider.script(ScriptedAnswer(529, headers, (OVERLOADED,), of_the_first, times=None))
    async with serve_simulator(provider) as provider_url:
        own = Installation(tmp_path, provider, provider_url, {"SPARE_KEY": SPARE_KEY})
        file = own.configure(SPARE.format(url=provider_url))
        file.write_text(file.read_text().replace('"anthropic"\n', '"anthropic"\nfallback = "spare"\n', 1))
        config = ("--config", str(file))
        await own.run("users", "create", "ada", *config)
        key = await own.key("ada")
        async with own.serving() as server:
            client = anthropic.AsyncAnthropic(base_url=f"{server.url}/anthropic", auth_token=key, max_retries=0)
            async with client:
                said = [{"role": "user", "content": "Name a river. simulate 3 words"}]
                asked = {"model": "claude-opus-4-6", "max_tokens": 500, "messages": said}
                whole = await client.messages.create(**asked)  # type: ignore[call-overload]  # a dict says no types
                async with client.messages.stream(**asked) as stream:  # type: ignore[arg-type]  # as above
                    streamed = "".join([text async for text in stream.text_stream])
            listed = (await own.run("interceptions", "list", *config, "--json")).json()["results"]
            shown = (await own.run("interceptions", "show", listed[0]["id"], *config)).out

    assert whole.content[0].text == streamed == "word1 word2 word3"
    keys = [dict(exchange.headers)[b"x-api-key"].decode() for exchange in provider.ledger]
    assert keys == [CENTRAL_KEY, SPARE_KEY] * 2
    assert [(found["provider_name"], found["served_by"], found["state"]) for found in listed] == [
        ("anthropic", "spare", "completed")
    ] * 2
    assert {found["model"] for found in listed} == {"claude-opus-4-6"}
    assert {found["credential_hint"] for found in listed} == {"spar...tion"}
    assert any(line.split() == ["served", "by", "spare"] for line in shown.splitlines())


async def test_claude_on_a_platform_can_be_the_one_in_reserve() -> None:
    async with fake_aws() as aws:
        credentials = AwsCredentials(region=REGION, access_key=ACCESS_KEY, secret_key=Secret(SECRET_KEY))
        first = providers.anthropic(base_url=aws.url, key="sk-first-0123456789", fallback="bedrock")
        other = bedrock(
            credentials=credentials, region=REGION, base_url=aws.url, models={"claude-opus-4-6": "claude-there"}
        )
        overloaded, good = Answer([OVERLOADED], 529), Answer(chunks(MESSAGES.events), 200, [EVENT_STREAM])
        aws.answer = lambda asked: overloaded if asked.target.startswith("/v1/messages") else good
        recorder = MemoryRecorder()
        bridge = RequestBridge(providers=[first, other], recorder=recorder, authenticator=Keyring())
        async with (
            served(bridge) as url,
            anthropic.AsyncAnthropic(base_url=f"{url}/anthropic", api_key=ADA, max_retries=0) as client,
        ):
            said = [{"role": "user", "content": "hello"}]
            async with client.messages.stream(model="claude-opus-4-6", max_tokens=500, messages=said) as stream:  # type: ignore[arg-type]  # a dict says no types
                message = await stream.get_final_message()

    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert [asked.target for asked in aws.asked] == [
        "/v1/messages",
        "/model/claude-there/invoke-with-response-stream",
    ]
    assert b"metadata" in aws.asked[0].body
    assert b"metadata" not in aws.asked[1].body
    (end,) = recorder.ends
    assert (end.state, end.served_by, end.credential_hint) == ("completed", "bedrock", credentials.hint)

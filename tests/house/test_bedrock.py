"""Claude on AWS over real sockets: the anthropic SDK before the gateway, a Bedrock that checks signatures behind it.

The SDK's own Bedrock client asks the same Bedrock directly, and what it sends is compared field by field.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from anthropic import APIStatusError, AsyncAnthropic, AsyncAnthropicBedrock

from aibridge import MemoryRecorder, RequestBridge, providers
from aibridge.aws import AwsCredentials
from aibridge.credentials import Secret
from aibridge.providers.bedrock import bedrock
from tests.exchanges import MESSAGES
from tests.fakes.aws import ACCESS_KEY, REGION, SECRET_KEY, FakeAws, fake_aws
from tests.fakes.bedrock import EVENT_STREAM, REQUEST_ID, chunks, exception
from tests.fakes.cloud_http import Answer
from tests.fakes.toolbox import ScriptedToolbox
from tests.fakes.turns import Call, Says, results_in
from tests.house.in_process import ADA, Keyring, served
from tests.waiting import until

pytestmark = pytest.mark.anyio

SONNET, HAIKU = "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.anthropic.claude-haiku-4-5-20251001-v1:0"
PARTNER = "APN_1.1%2Fpc_1a2b3c4d%24"
QUESTION: dict[str, Any] = {
    "model": "claude-of-the-house",
    "max_tokens": 4000,
    "messages": [{"role": "user", "content": "What is the weather in Nantes? \u00e9"}],
    "stop_sequences": ["stop"],
    "system": "Be brief.",
    "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
}


@dataclass
class House:
    aws: FakeAws
    recorder: MemoryRecorder
    url: str
    client: Any  # the SDK, in front of the gateway
    direct: Any  # the SDK's own client for Bedrock, in front of the same one

    @property
    def end(self) -> Any:
        (end,) = self.recorder.ends
        return end


@asynccontextmanager
async def opened(toolbox: ScriptedToolbox | None = None, **settings: Any) -> AsyncIterator[House]:
    async with fake_aws() as aws:
        credentials = AwsCredentials(region=REGION, access_key=ACCESS_KEY, secret_key=Secret(SECRET_KEY))
        provider = bedrock(
            credentials=credentials,
            region=REGION,
            base_url=aws.url,
            model=SONNET,
            small_fast_model=HAIKU,
            partner_id=PARTNER,
            **settings,
        )
        recorder = MemoryRecorder()
        plain = providers.anthropic(name="plain", base_url=aws.url, key="sk-plain-0123456789")
        bridge = RequestBridge(providers=[provider, plain], recorder=recorder, authenticator=Keyring(), toolbox=toolbox)
        async with (
            served(bridge) as url,
            AsyncAnthropic(base_url=f"{url}/bedrock", api_key=ADA, max_retries=0) as client,
            AsyncAnthropicBedrock(
                api_key="a-key-of-bedrock", aws_region=REGION, base_url=aws.url, max_retries=0
            ) as direct,
        ):
            yield House(aws, recorder, url, client, direct)


def streamed(*pieces: bytes | asyncio.Event, cut: bool = False) -> Answer:
    return Answer(pieces or chunks(MESSAGES.events), 200, [EVENT_STREAM, REQUEST_ID], cut=cut)


def failing(status: int, kind: str, message: str) -> Answer:
    headers = [(b"content-type", b"application/json"), REQUEST_ID, (b"x-amzn-ErrorType", kind.encode())]
    return Answer([json.dumps({"message": message}).encode()], status, headers)


# -- answers -------------------------------------------------------------------------------------------


async def test_a_stream_is_what_anthropic_would_have_sent() -> None:
    async with opened() as house:
        house.aws.answer = lambda _: streamed()
        async with house.client.messages.stream(**QUESTION) as stream:
            kinds = [event.type for event in await _all(stream)]
            message = await stream.get_final_message()

        async with await house.direct.messages.create(**QUESTION, stream=True) as other:
            expected = [event.type async for event in other]
    assert [kind for kind in kinds if kind in expected] == expected
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    (usage,) = house.recorder.token_usages
    assert (usage.input_tokens, usage.output_tokens) == (MESSAGES.final.input, MESSAGES.final.output)
    assert [thought.content for thought in house.recorder.thoughts] == [MESSAGES.thought[0]]  # type: ignore[index]  # it has one
    assert [used.tool for used in house.recorder.tool_usages]


async def test_the_bytes_of_a_stream_and_of_a_whole_answer_are_anthropics() -> None:
    async with opened() as house, httpx2.AsyncClient() as client:
        headers = {"x-api-key": ADA}
        house.aws.answer = lambda asked: streamed() if "stream" in asked.target else Answer([MESSAGES.body])
        url = f"{house.url}/bedrock/v1/messages?beta=true"
        stream = await client.post(url, json={**QUESTION, "stream": True}, headers=headers)
        whole = await client.post(url, json=QUESTION, headers=headers)

    assert (stream.status_code, stream.content) == (200, MESSAGES.stream)
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["request-id"] == REQUEST_ID[1].decode()
    assert (whole.status_code, whole.content) == (200, MESSAGES.body)
    assert [asked.target.rpartition("/")[2] for asked in house.aws.asked] == [
        "invoke-with-response-stream",
        "invoke",
    ]
    assert [end.state for end in house.recorder.ends] == ["completed"] * 2


async def test_events_reach_the_client_as_they_come() -> None:
    async with opened() as house:
        held = asyncio.Event()
        first, *rest = chunks(MESSAGES.events)
        house.aws.answer = lambda _: streamed(first, held, *rest)
        async with asyncio.timeout(20), await house.client.messages.create(**QUESTION, stream=True) as stream:
            events = aiter(stream)
            assert (await anext(events)).type == "message_start"
            held.set()
            assert [event.type async for event in events][-1] == "message_stop"


# -- what is sent --------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
async def test_bedrock_gets_what_the_sdks_own_client_sends(stream: bool) -> None:
    async with opened() as house:
        house.aws.answer = lambda asked: streamed() if "stream" in asked.target else Answer([MESSAGES.body])
        betas = ["interleaved-thinking-2025-05-14", "output-128k-2025-02-19"]
        for client, model in ((house.client, "claude-of-the-house"), (house.direct, SONNET)):
            asked = {**QUESTION, "model": model, "betas": betas}
            answered = await client.beta.messages.create(**asked, stream=stream)
            if stream:
                await _all(answered)
    ours, theirs = house.aws.asked

    assert ours.valid  # theirs would need boto3 for a signature
    assert (ours.method, ours.target) == (theirs.method, theirs.target)
    # The SDK's newest versions name their own version of the API there.
    assert ours.json == {**theirs.json, "anthropic_version": "bedrock-2023-05-31"}
    assert ours.access_key == ACCESS_KEY
    for name in ("accept", "content-type", "x-stainless-lang", "host"):
        assert ours.headers[name] == theirs.headers[name]
    assert "x-api-key" not in ours.headers
    assert "anthropic-beta" not in ours.headers


async def test_the_model_that_is_asked_is_the_model_on_record() -> None:
    async with opened() as house:
        house.aws.answer = lambda _: Answer([MESSAGES.body])
        for asked in ("claude-of-the-house", "a-small-haiku"):
            await house.client.messages.create(**{**QUESTION, "model": asked})

    assert [started.model for started in house.recorder.interceptions] == [SONNET, HAIKU]
    assert [asked.target for asked in house.aws.asked] == [f"/model/{name}/invoke" for name in (SONNET, HAIKU)]
    started = house.recorder.interceptions[0]
    assert (started.provider, started.provider_name) == ("anthropic", "bedrock")
    assert (started.credential_kind, started.credential_hint) == ("centralized", "AKIA...MPLE")
    assert started.upstream_user is None
    assert house.recorder.ends[0].credential_hint == "AKIA...MPLE"


@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
async def test_an_injected_tool_goes_round_in_bedrocks_own_way(stream: bool) -> None:
    toolbox = ScriptedToolbox()
    turns = [Says(1, "I look it up. ", (Call("toolu_1"),)), Says(2, "It rains.")]

    def next_turn(_: object) -> Answer:
        turn = turns.pop(0)
        if not stream:
            return Answer([turn.body("messages")])
        return streamed(*chunks(event + b"\n\n" for event in turn.stream("messages").split(b"\n\n")[:-1]))

    async with opened(toolbox) as house:
        house.aws.answer = next_turn
        said = await house.client.messages.create(**QUESTION, stream=stream)
        events = await _all(said) if stream else []
        shown = str(events) if stream else str(said)

    deltas = "".join(getattr(getattr(event, "delta", None), "text", "") for event in events)
    assert "It rains." in (deltas or shown)
    assert "bmcp_" not in shown
    assert [call.call_id for _, call in toolbox.calls] == ["toolu_1"]
    first, second = house.aws.asked
    assert first.valid
    assert second.valid
    assert first.target == second.target
    assert results_in("messages", second.body).keys() == {"toolu_1"}
    assert second.json["anthropic_version"] == "bedrock-2023-05-31"
    assert [usage.input_tokens for usage in house.recorder.token_usages] == [10, 10]
    assert house.end.state == "completed"


async def test_the_partner_is_named_to_bedrock_and_to_nobody_else() -> None:
    async with opened(app_id="engines") as house:
        house.aws.answer = lambda _: Answer([MESSAGES.body])
        headers = {"user-agent": "claude-cli/2.1.0 (external, cli) sdk-ua-app-id/theirs"}
        await house.client.messages.create(**QUESTION, extra_headers=headers)
        async with AsyncAnthropic(base_url=f"{house.url}/plain", api_key=ADA, max_retries=0) as other:
            await other.messages.create(**QUESTION, extra_headers=headers)

    on_bedrock, elsewhere = (asked.headers["user-agent"] for asked in house.aws.asked)
    assert on_bedrock == f"{headers['user-agent']} app/engines sdk-ua-app-id/{PARTNER}"
    assert elsewhere == headers["user-agent"]


@pytest.mark.parametrize("own", [{"x-api-key": "sk-of-my-own-0123456789"}, {"authorization": "Bearer my-own-012"}])
async def test_a_credential_of_the_callers_own_is_refused(own: dict[str, str]) -> None:
    async with opened() as house, httpx2.AsyncClient() as client:
        headers = {"x-aibridge-token": ADA, **own}
        answer = await client.post(f"{house.url}/bedrock/v1/messages", json=QUESTION, headers=headers)

    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    assert house.aws.asked == []
    assert house.end.state == "rejected"


# -- what goes wrong -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "shown", "named"),
    [
        (400, "ValidationException", 400, "invalid_request_error"),
        (429, "ThrottlingException", 429, "rate_limit_error"),
        (503, "ServiceUnavailableException", 503, "overloaded_error"),
        (403, "AccessDeniedException", 502, "api_error"),
    ],
)
@pytest.mark.parametrize("stream", [True, False], ids=["streaming", "blocking"])
async def test_an_error_is_anthropics(stream: bool, status: int, kind: str, shown: int, named: str) -> None:
    async with opened() as house:
        house.aws.answer = lambda _: failing(status, kind, f"no. {SECRET_KEY}")
        with pytest.raises(APIStatusError) as raised:
            await house.client.messages.create(**QUESTION, stream=stream)

    body: Any = raised.value.body
    assert (raised.value.status_code, body["error"]["type"]) == (shown, named)
    assert body["error"]["message"].endswith("no. [redacted]")
    assert (house.end.state, house.end.http_status, house.end.error_type) == ("upstream_error", shown, named)
    assert SECRET_KEY not in house.end.error_message


async def test_an_exception_in_mid_stream_is_an_error_that_the_sdk_raises() -> None:
    async with opened() as house:
        pieces = [*chunks(MESSAGES.events[:4]), exception("throttlingException", message="Too many tokens")]
        house.aws.answer = lambda _: streamed(*pieces)
        stream = await house.client.messages.create(**QUESTION, stream=True)
        with pytest.raises(APIStatusError, match="Too many tokens"):
            await _all(stream)

    assert (house.end.state, house.end.error_type) == ("upstream_error", "rate_limit_error")
    assert [usage.partial for usage in house.recorder.token_usages] == [True]


@pytest.mark.parametrize("damage", ["cut", "in a frame", "flipped"])
async def test_a_stream_that_breaks_never_looks_whole(damage: str) -> None:
    *most, last = chunks(MESSAGES.events)
    flipped = last[:40] + bytes([last[40] ^ 1]) + last[41:]
    pieces = {"cut": most, "in a frame": [*most, last[:50]], "flipped": [*most, flipped]}[damage]
    async with opened() as house:
        house.aws.answer = lambda _: streamed(*pieces, cut=damage == "cut")
        stream = await house.client.messages.create(**QUESTION, stream=True)
        with pytest.raises(APIStatusError):
            await _all(stream)

    assert house.end.state == "upstream_error"


async def test_a_client_that_hangs_up_ends_the_stream_at_bedrock_too() -> None:
    async with opened() as house:
        held = asyncio.Event()
        house.aws.answer = lambda _: streamed(*chunks(MESSAGES.events[:3]), held)
        stream = await house.client.messages.create(**QUESTION, stream=True)
        await anext(aiter(stream))
        await stream.close()
        await until(lambda: bool(house.recorder.ends))
        held.set()

    assert house.end.state == "client_gone"


async def test_another_attempt_is_signed_anew() -> None:
    async with opened(max_retries=1) as house:
        failures = [failing(503, "ServiceUnavailableException", "busy")]
        house.aws.answer = lambda _: failures.pop() if failures else streamed()
        events = await _all(await house.client.messages.create(**QUESTION, stream=True))

    assert events[-1].type == "message_stop"
    assert [asked.valid for asked in house.aws.asked] == [True, True]
    assert house.end.state == "completed"


async def test_bedrock_that_is_not_there_is_a_502() -> None:
    async with opened() as house:
        house.aws.answer = lambda _: Answer([], cut=True)
        with pytest.raises(APIStatusError) as raised:
            await house.client.messages.create(**QUESTION)

    assert raised.value.status_code == 502


# -- the other routes ----------------------------------------------------------------------------------


async def test_models_are_those_of_the_configuration_and_nothing_else_is_there() -> None:
    async with opened(models={"claude-opus-4-6": "us.anthropic.claude-opus-4-6-v1"}) as house:
        client, names = house.client, ["claude-opus-4-6", SONNET, HAIKU]
        listed = await client.models.list()
        one = await client.models.retrieve("claude-opus-4-6")
        with pytest.raises(APIStatusError) as unknown:
            await client.models.retrieve("claude-9")
        with pytest.raises(APIStatusError) as uncounted:
            await client.messages.count_tokens(model="a", messages=[])
        async with httpx2.AsyncClient(headers={"x-api-key": ADA}) as plain:
            probed = await plain.head(f"{house.url}/bedrock")
            models = await plain.head(f"{house.url}/bedrock/v1/models")
            logged = await plain.post(f"{house.url}/bedrock/api/event_logging/batch", json={})

    assert [model.id for model in listed.data] == names
    assert one.id == one.display_name == "claude-opus-4-6"
    assert [unknown.value.status_code, uncounted.value.status_code] == [404, 501]
    assert uncounted.value.response.headers["x-should-retry"] == "false"
    assert [probed.status_code, models.status_code, models.content, logged.status_code] == [200, 200, b"", 501]
    assert house.aws.asked == []


async def _all(stream: Any) -> list[Any]:
    return [event async for event in stream]

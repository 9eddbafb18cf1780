"""Both generations of the providers' SDKs against the bridge, on real sockets: they notice nothing of it."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from aibridge.server.demo.simulator import ScriptedAnswer
from tests.house.in_process import ADA, BOB, CENTRAL_KEY, InProcess, in_process

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop that the server runs."""
    return "asyncio", {"use_uvloop": True}


CHECKOUT = Path(__file__).resolve().parents[2]
PYTHONS = {"2.x and 3.x": Path(sys.executable), "1.x and 2.x": CHECKOUT / ".venv-old-sdks/bin/python"}
WORDS = " ".join(f"word{number}" for number in range(1, 21))
REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")
OUR_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
BOUND = 90.0  # seconds; it takes four where nothing else runs


class Seen:
    """What the stories told, and the house in which they played."""

    def __init__(self, told: dict[str, Any], house: InProcess) -> None:
        self.told = told
        self.house = house


@pytest.fixture(scope="module", params=list(PYTHONS))
async def seen(request: pytest.FixtureRequest, anyio_backend: object) -> AsyncIterator[Seen]:
    python = PYTHONS[request.param]
    assert python.exists(), f"{python} is made by script/setup"
    async with in_process() as house:
        process = await asyncio.create_subprocess_exec(
            *(str(python), "-W", "error", str(CHECKOUT / "tests/house/sdk_stories.py"), house.url, ADA),
            stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        )
        async with asyncio.timeout(BOUND):
            printed, _ = await process.communicate()
        assert process.returncode == 0
        told = msgspec.json.decode(printed)
        major = [version.split(".")[0] for version in told["versions"]]
        assert major == re.findall(r"\d(?=\.x)", request.param)
        yield Seen(told, house)


@pytest.mark.parametrize("name", ["messages", "chat", "responses"])
async def test_a_whole_answer_is_the_providers(seen: Seen, name: str) -> None:
    told = seen.told[name]

    assert told["text"] == WORDS
    assert told["usage"] > 20
    assert REQUEST_ID.fullmatch(told["request_id"])


@pytest.mark.parametrize("name", ["messages_streamed", "chat_streamed", "responses_streamed"])
async def test_a_stream_is_the_providers(seen: Seen, name: str) -> None:
    told = seen.told[name]

    assert told["text"] == WORDS
    assert told["usage"] > 20


async def test_streams_begin_and_end_as_their_dialects_say(seen: Seen) -> None:
    messages, responses = seen.told["messages_streamed"], seen.told["responses_streamed"]

    assert (messages["first"], messages["last"]) == ("message_start", "message_stop")
    assert (responses["first"], responses["last"]) == ("response.created", "response.completed")


async def test_usage_that_a_chat_did_not_ask_for_is_not_in_its_stream(seen: Seen) -> None:
    told = seen.told["chat_streamed"]

    assert told["unasked"] == []
    assert told["helper"] == WORDS


async def test_thinking_arrives_with_its_signature(seen: Seen) -> None:
    assert seen.told["messages_thinking"] == {
        "blocks": ["thinking", "text"],
        "streamed": ["thinking", "text"],
        "signed": True,
    }
    assert seen.told["responses_thinking"] == {"items": ["reasoning", "message"], "streamed": ["reasoning", "message"]}


@pytest.mark.parametrize("name", ["messages_tool", "chat_tool", "responses_tool"])
async def test_a_tool_goes_round_in_both_modes(seen: Seen, name: str) -> None:
    assert seen.told[name] == {"calls": [["weather", ["city"]]] * 2, "answers": [True, True]}


async def test_a_prompt_of_a_megabyte_and_a_half_with_an_image_is_answered(seen: Seen) -> None:
    assert seen.told["messages_with_an_image"] == {"text": WORDS}
    sizes = [len(exchange.body) for exchange in seen.house.provider.ledger]
    assert max(sizes) > 1_500_000


async def test_tokens_are_counted_and_models_listed(seen: Seen) -> None:
    assert seen.told["messages_counted"]["tokens"] > 0
    for name in ("claude_models", "gpt_models"):
        assert seen.told[name]["listed"] > 0
        assert seen.told[name]["same"]


async def test_stored_responses_are_found_followed_and_deleted(seen: Seen) -> None:
    told = seen.told["responses"]

    assert told["fetched"] == WORDS
    assert told["following"] == "word1 word2 word3 word4 word5"
    assert told["deleted"] == "NotFoundError"


TYPES = {
    "400": ("BadRequestError", 400),
    "404": ("NotFoundError", 404),
    "429": ("RateLimitError", 429),
    "500": ("InternalServerError", 500),
    "503": ("InternalServerError", 503),
    "529": (("OverloadedError", "InternalServerError"), 529),
    "streamed": ("RateLimitError", 429),
}


@pytest.mark.parametrize("name", ["messages_errors", "chat_errors", "responses_errors"])
async def test_errors_of_the_provider_are_the_sdks_own_exceptions_with_its_request_id(seen: Seen, name: str) -> None:
    told = {kind: error for kind, error in seen.told[name].items() if kind in TYPES}

    assert len(told) == 6
    for kind, error in told.items():
        types, status = TYPES[kind]
        assert error["type"] in types, kind
        assert error["status"] == status
        assert REQUEST_ID.fullmatch(error["request_id"])


@pytest.mark.parametrize("name", ["messages_errors", "chat_errors", "responses_errors"])
async def test_errors_of_the_gateway_are_the_sdks_own_exceptions_with_ours(seen: Seen, name: str) -> None:
    told = seen.told[name]
    refused, cut = told["401"], told["cut whole"]

    assert (refused["type"], refused["status"]) == ("InternalServerError", 502)
    assert "the provider refused the gateway's own credential" in refused["message"]
    assert (cut["type"], cut["status"]) == ("InternalServerError", 502)
    for error in (refused, cut):
        assert OUR_ID.fullmatch(error["request_id"])
    assert (told["no key"]["type"], told["no key"]["status"]) == ("AuthenticationError", 401)


@pytest.mark.parametrize("name", ["messages_errors", "chat_errors", "responses_errors"])
async def test_a_stream_that_breaks_off_raises_and_is_not_taken_for_whole(seen: Seen, name: str) -> None:
    cut = seen.told[name]["cut"]

    assert cut["type"] in ("APIStatusError", "APIError")
    assert "the provider's answer broke off" in cut["message"]


async def test_an_error_event_of_the_provider_raises_with_its_own_words(seen: Seen) -> None:
    for name in ("messages_errors", "chat_errors"):
        error = seen.told[name]["overloaded in the stream"]
        assert error["type"] in ("APIStatusError", "APIError", "OverloadedError")
        assert "Overloaded (simulated)" in error["message"]
    # OpenAI's own flat event is one of the stream to the SDK, not an exception.
    failed = seen.told["responses_errors"]["overloaded in the stream"]
    assert failed == {"type": "error", "code": "server_is_overloaded"}


async def test_what_the_gateway_does_not_do_is_told_in_the_sdks_exceptions(seen: Seen) -> None:
    messages, responses = seen.told["messages_errors"], seen.told["responses_errors"]

    assert (messages["no route"]["type"], messages["no route"]["status"]) == ("NotFoundError", 404)
    assert responses["background"]["status"] == 501
    assert responses["of somebody else"]["type"] == "NotFoundError"


async def test_every_exchange_of_the_stories_is_on_record_once(seen: Seen) -> None:
    recorder, ledger = seen.house.recorder, seen.house.provider.ledger
    bridged = [
        one for one in ledger if one.method == "POST" and one.path.endswith(("messages", "completions", "responses"))
    ]

    assert len({started.id for started in recorder.interceptions}) == len(recorder.interceptions)
    assert Counter(ended.interception_id for ended in recorder.ends) == Counter(
        started.id for started in recorder.interceptions
    )
    rejected = [ended for ended in recorder.ends if ended.state == "rejected"]
    assert len(rejected) == 2  # in the background, and a response of somebody else
    assert len(recorder.interceptions) - len(rejected) == len(bridged)
    assert {started.initiator_id for started in recorder.interceptions} == {"ada"}
    assert CENTRAL_KEY not in repr(recorder.records)
    assert ADA not in repr(recorder.records)


# -- what needs a client of its own ---------------------------------------------------------------------


@pytest.fixture
async def house() -> AsyncIterator[InProcess]:
    async with in_process() as house:
        yield house


async def test_five_hundred_requests_go_over_one_connection(house: InProcess) -> None:
    async with AsyncAnthropic(base_url=f"{house.url}/anthropic", api_key=ADA, max_retries=0) as claude:
        for number in range(500):
            streamed = number % 10 == 0
            asked: Any = {"model": "claude-opus-4-6", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
            if streamed:
                async with claude.messages.stream(**asked) as stream:
                    await stream.get_final_message()
            else:
                await claude.messages.create(**asked)
        connections = claude._client._transport._pool.connections  # type: ignore[attr-defined]  # of httpcore

    assert len(connections) == 1
    assert [ended.state for ended in house.recorder.ends] == ["completed"] * 500
    assert all(exchange.completed for exchange in house.provider.ledger)


async def test_fifty_people_at_once_get_their_own_answers(house: InProcess) -> None:
    async with AsyncOpenAI(base_url=f"{house.url}/openai/v1", api_key=BOB, max_retries=0) as gpt:

        async def ask(number: int) -> str:
            text = ""
            stream = await gpt.chat.completions.create(
                model=f"m-{number}", messages=[{"role": "user", "content": f"I am {number}"}], stream=True
            )
            async for chunk in stream:
                text += chunk.choices[0].delta.content or ""
            return text

        answers = await asyncio.gather(*(ask(number) for number in range(50)))

    assert all(f'"I am {number}"' in answer for number, answer in enumerate(answers))
    prompts = {prompt.interception_id: prompt.prompt for prompt in house.recorder.prompts}
    assert {started.model: prompts[started.id] for started in house.recorder.interceptions} == {
        f"m-{number}": f"I am {number}" for number in range(50)
    }


async def test_a_key_of_ones_own_goes_to_the_provider_and_the_gateways_stays(house: InProcess) -> None:
    ours = {"X-AIBridge-Token": BOB}
    async with (
        AsyncAnthropic(base_url=f"{house.url}/anthropic", api_key="sk-own-0123456789", default_headers=ours) as claude,
        AsyncOpenAI(base_url=f"{house.url}/copilot", api_key="gho_own-token-of-bob", default_headers=ours) as gpt,
    ):
        await claude.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": "Hi"}])
        await gpt.responses.create(model="m", input="Hi")
        await gpt.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])

    first, *others = house.provider.ledger
    assert "sk-own-0123456789" in (first.header("x-api-key") or first.header("authorization") or "")
    assert {one.header("authorization") for one in others} == {"Bearer gho_own-token-of-bob"}
    assert all(BOB not in repr(one) and CENTRAL_KEY not in repr(one) for one in house.provider.ledger)
    assert {started.credential_kind for started in house.recorder.interceptions} == {"byok"}
    assert {started.initiator_id for started in house.recorder.interceptions} == {"bob"}


async def test_a_large_prompt_goes_up_as_it_came_but_for_the_attribution(house: InProcess, seed: int) -> None:
    image = base64.b64encode(random.Random(seed).randbytes(1_200_000)).decode()
    body = b'{"model": "m", "max_tokens": 5, "metadata": {"kept":  1e2}, "messages": [{"role": "user", "content": [' + (
        b'{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "%b"}},'
        b'{"type": "text", "text": "Hi \\u00e9"}]}]}' % image.encode()
    )
    async with AsyncAnthropic(base_url=f"{house.url}/anthropic", api_key=ADA) as claude:
        await claude.post(
            "/v1/messages", cast_to=object, content=body, options={"headers": {"content-type": "application/json"}}
        )

    [exchange] = house.provider.ledger
    assert exchange.body == body.replace(b'{"kept":  1e2}', b'{"kept":  1e2,"user_id":"ada"}')


async def test_a_script_of_the_provider_arrives_with_its_headers(house: InProcess) -> None:
    headers = [(b"content-type", b"application/json"), (b"anthropic-ratelimit-requests-remaining", b"7")]
    house.provider.script(ScriptedAnswer(status=529, headers=headers, steps=(b'{"type":"error"}',)))
    async with AsyncAnthropic(base_url=f"{house.url}/anthropic", api_key=ADA, max_retries=0) as claude:
        answer = await claude._client.post(
            "/v1/messages", json={"model": "m", "messages": []}, headers={"x-api-key": ADA}
        )

    assert (answer.status_code, answer.content) == (529, b'{"type":"error"}')
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "7"

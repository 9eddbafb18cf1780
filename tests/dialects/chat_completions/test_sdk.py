"""The openai SDK reads what we write, and what our stories say that providers write."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import openai
import pytest

from aibridge.dialects.chat_completions import CHAT_COMPLETIONS
from aibridge.errors import Problem
from tests.transcripts.stories import Story, stories

_STORIES = [story for story in stories("chat_completions") if story.stream and story.turn["outcome"] == "complete"]


def _client(body: bytes, seen: Callable[[httpx2.Request], None] = lambda _: None) -> openai.OpenAI:
    def answer(request: httpx2.Request) -> httpx2.Response:
        seen(request)
        return httpx2.Response(200, content=body, headers={"content-type": "text/event-stream"})

    transport = httpx2.MockTransport(answer)
    return openai.OpenAI(api_key="none", base_url="http://test/v1", http_client=httpx2.Client(transport=transport))


@pytest.mark.parametrize("story", [s for s in _STORIES if s.name != "unreadable"], ids=lambda story: story.name)
def test_the_sdk_reads_what_the_client_gets(story: Story) -> None:
    stream = _client(story.client).chat.completions.create(model="m", messages=[], stream=True)
    chunks = list(stream)

    assert chunks
    if b"include_usage" not in story.request:
        # What a client without the option writes: no chunk is without choices but Azure's, which came before.
        assert all(chunk.choices for chunk in chunks[1:])


def test_a_broken_stream_raises_in_the_sdk_after_what_came() -> None:
    reply = CHAT_COMPLETIONS.parse(b'{"model":"m","stream":true}').reply(stream=True)
    chunk = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
    received = reply.receive(chunk + b'data: {"id":"c","cho')
    reply.end_turn()
    stream = iter(
        _client(
            received + reply.fail(Problem(502, "the provider broke off", "upstream_error"))
        ).chat.completions.create(model="m", messages=[], stream=True)
    )

    assert next(stream).choices[0].delta.content == "a"
    with pytest.raises(openai.APIError, match="the provider broke off") as caught:
        next(stream)
    assert (caught.value.type, caught.value.code) == ("api_error", "upstream_error")


def test_the_sdks_own_requests_are_read() -> None:
    sent: list[bytes] = []
    client = _client(b"data: [DONE]\n\n", lambda request: sent.append(request.content))
    list(
        client.chat.completions.create(
            model="gpt-5.4-mini", messages=[{"role": "user", "content": "Hi"}], stream=True, user="somebody"
        )
    )
    request = CHAT_COMPLETIONS.parse(sent[0])

    assert (request.model, request.streaming, request.prompt) == ("gpt-5.4-mini", True, "Hi")
    assert b"somebody" not in request.attributed_to("person-1").body()

"""The providers' SDKs as readers of a stream: whatever they ask, they get these bytes. No socket is opened."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from anthropic import Anthropic
from openai import OpenAI


@contextmanager
def anthropic_reading(stream: bytes) -> Iterator[Anthropic]:
    with _http(stream) as http:
        yield Anthropic(api_key="test", base_url="http://localhost", http_client=http, max_retries=0)


@contextmanager
def openai_reading(stream: bytes) -> Iterator[OpenAI]:
    with _http(stream) as http:
        yield OpenAI(api_key="test", base_url="http://localhost", http_client=http, max_retries=0)


def _http(stream: bytes) -> httpx2.Client:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=stream)

    return httpx2.Client(transport=httpx2.MockTransport(answer))

"""Errors in OpenAI's shape: what we say, and what providers that speak it really answer."""

from __future__ import annotations

import json

import httpx2
import openai
import pytest

from aibridge.dialects.openai_errors import error_body, error_shape, read_error
from aibridge.errors import Problem


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (415, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (501, "invalid_request_error"),
        (502, "api_error"),
        (503, "server_error"),
        (504, "timeout_error"),
        (529, "server_error"),
    ],
)
def test_the_status_decides_the_type(status: int, kind: str) -> None:
    body = json.loads(error_body(Problem(status, "said plainly"), "req_1"))

    assert body == {"error": {"message": "said plainly", "type": kind, "param": None, "code": None}}


def test_an_open_breaker_reads_as_the_specification_words_it() -> None:
    shape = error_shape(Problem(503, "circuit breaker is open", "service_unavailable"))

    error = shape["error"]
    assert isinstance(error, dict)
    assert (error["type"], error["code"]) == ("server_error", "service_unavailable")


def test_the_sdk_finds_every_part_of_our_error() -> None:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        body = error_body(Problem(404, "no such thing", "model_not_found"), None)
        return httpx2.Response(404, content=body, headers={"content-type": "application/json", "x-request-id": "req_7"})

    client = openai.OpenAI(
        api_key="none", base_url="http://test/v1", http_client=httpx2.Client(transport=httpx2.MockTransport(answer))
    )
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-x")

    error = caught.value
    assert (error.type, error.code, error.param, error.request_id) == (
        "not_found_error",
        "model_not_found",
        None,
        "req_7",
    )
    assert "no such thing" in error.message


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":{"message":"bad key","type":"invalid_request_error","code":"invalid_api_key"}}',
         ("invalid_request_error", "bad key")),
        (b'{"error":{"message":"slow down","code":429}}', ("429", "slow down")),
        (b'{"error":{"message":"x","type":null,"code":"rate_limit_exceeded"}}', ("rate_limit_exceeded", "x")),
        (b'{"error":"model not found"}', (None, "model not found")),
        (b'{"object":"error","message":"too long","type":"BadRequestError","code":400}', ("BadRequestError", "too long")),
        (b'[{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}]', ("400", "bad")),
        (b'{"detail":"Not Found"}', (None, "Not Found")),
        (b'{"detail":[{"loc":["body"]}]}', (None, None)),
        (b'{"error":{"message":7,"type":{}}}', (None, None)),
        (b'{"error":[]}', (None, None)),
        (b"[]", (None, None)),
        (b"<html>Bad Gateway</html>", (None, None)),
        (b"", (None, None)),
        (b'{"error":{"message":"\xff"}}', (None, "\ufffd")),
    ],
)  # fmt: skip
def test_error_bodies_are_read_as_far_as_they_go(body: bytes, expected: tuple[str | None, str | None]) -> None:
    assert read_error(body) == expected

"""Messages requests as Vertex AI gets them, and its errors as Anthropic's clients do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.errors import Header, InvalidRequest
from aibridge.ports import UpstreamRequest
from aibridge.providers.vertex import vertex
from aibridge.providers.vertex_features import BETA_FLAGS
from tests.fakes.cloud import PlainProof

PLACE = "https://us-east5-aiplatform.googleapis.com/v1/projects/engines/locations/us-east5/publishers/anthropic/models"


def sent(
    body: bytes | dict[str, Any], headers: Sequence[Header] = (), path: str = "/v1/messages", **settings: Any
) -> UpstreamRequest:
    raw = body if isinstance(body, bytes) else json.dumps({"model": "claude-x", "messages": [], **body}).encode()
    provider = vertex(**{"credentials": PlainProof(), "project": "engines", "region": "us-east5", **settings})
    assert provider.platform is not None
    request = UpstreamRequest("POST", f"{provider.base_url}{path}?beta=true", list(headers), raw)
    return provider.platform.outgoing(request, path)


@pytest.mark.parametrize(
    ("asked", "settings", "goes_to"),
    [
        ("claude-sonnet-4-5-20250929", {}, "claude-sonnet-4-5@20250929"),
        ("claude-opus-4-6", {}, "claude-opus-4-6"),
        ("claude-opus-4-6", {"models": {"claude-opus-4-6": "claude-opus-4-8"}}, "claude-opus-4-8"),
        ("claude-opus-4-6", {"model": "m", "small_fast_model": "s"}, "m"),
        ("claude-haiku-4-5-20251001", {"model": "m", "small_fast_model": "s"}, "s"),
        ("claude-haiku-4-5-20251001", {"model": "m"}, "m"),
        ("claude-haiku-4-5-20251001", {"small_fast_model": "s"}, "s"),
    ],
)
def test_the_model_is_in_the_address(asked: str, settings: dict[str, Any], goes_to: str) -> None:
    assert sent({"model": asked}, **settings).url == f"{PLACE}/{goes_to}:rawPredict"
    assert sent({"model": asked, "stream": True}, **settings).url == f"{PLACE}/{goes_to}:streamRawPredict"
    assert sent({"model": asked, "stream": 1}, **settings).url == f"{PLACE}/{goes_to}:streamRawPredict"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west1", "europe-west1-aiplatform.googleapis.com"),
    ],
)
def test_the_address_is_the_regions(region: str, host: str) -> None:
    url = sent({}, region=region).url

    assert url.startswith(f"https://{host}/v1/projects/engines/locations/{region}/publishers/anthropic/models/")
    assert sent({}, base_url="http://a.test/v1/").url.startswith(
        "http://a.test/v1/projects/engines/locations/us-east5/"
    )


@given(st.text(min_size=1, max_size=60))
def test_a_name_stays_one_part_of_the_path(model: str) -> None:
    try:
        url = sent({"model": model}).url
    except InvalidRequest:
        assert not model.strip(".") or any("\ud800" <= letter <= "\udfff" for letter in model)
        return

    part = url.removeprefix(f"{PLACE}/").removesuffix(":rawPredict")
    assert url.isascii()
    assert not set("?#;: /\\") & set(part)
    assert unquote(part).replace("@", "-") == model.replace("@", "-")


def test_what_vertex_takes_stays_byte_for_byte() -> None:
    raw = b'{"a": 1.0,"model":"claude-x", "stream": true, "metadata":{"user_id":"u"}, "b":12345678901234567890 }'

    expected = raw.replace(b'"model":"claude-x", ', b"").removesuffix(b" }")
    assert sent(raw).body == expected + b',"anthropic_version":"vertex-2023-10-16" }'


@pytest.mark.parametrize(("model", "kept"), [("claude-opus-4-5", False), ("claude-opus-4-6", True), ("odd", True)])
def test_the_effort_goes_where_it_is_taken(model: str, kept: bool) -> None:
    body = json.loads(sent({"model": model, "output_config": {"effort": "low"}}).body)

    assert ("output_config" in body) is kept


def test_only_flags_that_vertex_takes_stay_in_the_header() -> None:
    said = ["claude-code-20250219", *sorted(BETA_FLAGS), "effort-2025-11-24"]
    headers = [(b"Anthropic-Beta", ", ".join(said[:4]).encode()), (b"anthropic-beta", ",".join(said[3:]).encode())]

    assert dict(sent({}, headers).headers)[b"anthropic-beta"] == ",".join(sorted(BETA_FLAGS)).encode()
    assert all(name.lower() != b"anthropic-beta" for name, _ in sent({}, [(b"anthropic-beta", b"x")]).headers)


def test_headers_about_who_pays_are_not_the_clients_to_set() -> None:
    headers = [(b"X-Goog-User-Project", b"other"), (b"anthropic-version", b"2023-06-01"), (b"user-agent", b"a/1")]

    assert sent({}, headers).headers == [headers[2], (b"content-type", b"application/json")]


def test_tokens_are_counted_with_the_model_in_the_body_and_no_flag() -> None:
    headers = [(b"anthropic-beta", b"context-1m-2025-08-07"), (b"content-type", b"application/json")]
    request = sent({"model": "claude-opus-4-1-20250805"}, headers, "/v1/messages/count_tokens")

    assert request.url == f"{PLACE}/count-tokens:rawPredict"
    assert request.headers == headers[1:]
    assert json.loads(request.body) == {
        "model": "claude-opus-4-1@20250805",
        "messages": [],
        "anthropic_version": "vertex-2023-10-16",
    }


@pytest.mark.parametrize("body", [b"[]", b"", b'{"model":"a","model":"b"}', b'{"model":".."}', b'{"messages":[]}'])
def test_what_cannot_be_asked_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        sent(body)


@pytest.mark.parametrize(
    "wrong", [{"project": ""}, {"project": "a/b"}, {"region": ""}, {"region": "us-east5.evil.test/"}]
)
def test_a_setting_that_is_wrong_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} of provider 'vertex'"):
        sent({}, **wrong)


# -- answers -------------------------------------------------------------------------------------------


def told(status: int, body: bytes) -> tuple[int, bytes]:
    provider = vertex(credentials=PlainProof(), project="engines", region="us-east5")
    assert provider.platform is not None
    incoming = provider.platform.incoming(status, [(b"Content-Type", b"text/html"), (b"content-length", b"3")])
    assert incoming.whole is not None
    assert (b"content-type", b"application/json") in incoming.headers
    assert ((b"x-should-retry", b"false") in incoming.headers) is (incoming.status == 502)
    return incoming.status, incoming.whole(body)


GOOGLES = b'{"error":{"code":429,"message":"Quota exceeded","status":"RESOURCE_EXHAUSTED"}}'


@pytest.mark.parametrize("body", [GOOGLES, b"[" + GOOGLES + b"]"])
def test_an_error_of_googles_has_anthropics_shape(body: bytes) -> None:
    status, shown = told(429, body)

    said = {"type": "error", "error": {"type": "rate_limit_error", "message": "Quota exceeded"}, "request_id": None}
    assert (status, json.loads(shown)) == (429, said)


def test_an_error_of_anthropics_passes_as_it_is() -> None:
    body = b'{"type":"error","error":{"type":"invalid_request_error","message":"x"}, "request_id":"req_vrtx_1"}'

    assert told(400, body) == (400, body)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_our_token_is_no_refusal_of_the_clients(status: int) -> None:
    told_status, shown = told(status, GOOGLES)

    assert told_status == 502
    assert json.loads(shown)["error"] == {
        "type": "api_error",
        "message": "Google refused the gateway's own credential: Quota exceeded",
    }


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"error":"x"}'])
def test_an_error_that_says_nothing_has_the_shape_all_the_same(body: bytes) -> None:
    assert json.loads(told(503, body)[1])["error"]["type"] == "overloaded_error"


def test_answers_pass_as_they_are() -> None:
    provider = vertex(credentials=PlainProof(), project="engines", region="us-east5")
    assert provider.platform is not None
    headers = [(b"content-type", b"text/event-stream")]
    incoming = provider.platform.incoming(200, headers)

    assert (incoming.status, incoming.headers, incoming.piece, incoming.whole) == (200, headers, None, None)

"""Messages requests as Bedrock gets them: where to, which headers, what of the body. What it takes stays byte for byte."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aibridge import providers
from aibridge.errors import Header, InvalidRequest
from aibridge.ports import UpstreamRequest, UpstreamTimeouts
from aibridge.providers.bedrock import bedrock
from aibridge.providers.bedrock_features import BETA_FLAGS, DROPPED_FIELDS
from aibridge.providers.credential import Credential
from tests.fakes.cloud import PlainProof
from tests.fakes.journal import Journal
from tests.fakes.upstream import Scripted, ScriptedUpstream

MODELS: dict[str, Any] = {
    "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "small_fast_model": "anthropic.claude-haiku-4-5",
}


def sent(body: bytes | dict[str, Any], headers: Sequence[Header] = (), **settings: Any) -> UpstreamRequest:
    """What goes to Bedrock for a body, without its proof."""
    raw = body if isinstance(body, bytes) else json.dumps({"model": "claude-x", "messages": [], **body}).encode()
    provider = bedrock(credentials=PlainProof(), region="eu-central-1", **(settings or MODELS))
    assert provider.platform is not None
    url = f"{provider.base_url}/v1/messages?beta=true"
    return provider.platform.outgoing(UpstreamRequest("POST", url, list(headers), raw), "/v1/messages")


def body_of(*args: Any, **settings: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sent(*args, **settings).body)
    return found


# -- where to ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "settings", "goes_to"),
    [
        ("claude-opus-4-6", MODELS, MODELS["model"]),
        ("claude-3-5-Haiku-latest", MODELS, MODELS["small_fast_model"]),
        ("a", {**MODELS, "models": {"a": "b"}}, "b"),
        ("claude-haiku-4-5", {**MODELS, "models": {"claude-haiku-4-5": "c"}}, "c"),
        ("anthropic.claude-v9", {"models": {"a": "b"}}, "anthropic.claude-v9"),
        ("claude-haiku", {"model": "m", "models": {"a": "b"}}, "m"),
    ],
)
def test_the_model_is_the_configured_one(asked: str, settings: dict[str, Any], goes_to: str) -> None:
    request = sent({"model": asked}, **settings)

    assert unquote(request.url) == f"https://bedrock-runtime.eu-central-1.amazonaws.com/model/{goes_to}/invoke"
    assert bedrock(credentials=PlainProof(), region="us-east-1", **settings).model_of(asked) == goes_to


def test_a_stream_has_its_own_address() -> None:
    assert sent({"stream": True}).url.endswith("/invoke-with-response-stream")
    assert sent({"stream": 1}).url.endswith("/invoke-with-response-stream")
    assert sent({"stream": False}).url.endswith("/invoke")


@pytest.mark.parametrize("region", ["cn-north-1", "us-gov-west-1", "us-east-1"])
def test_the_address_is_the_regions(region: str) -> None:
    provider = bedrock(credentials=PlainProof(), region=region, **MODELS)

    ending = "amazonaws.com.cn" if region == "cn-north-1" else "amazonaws.com"
    assert provider.base_url == f"https://bedrock-runtime.{region}.{ending}"
    assert (
        bedrock(credentials=PlainProof(), region=region, base_url="http://vpce/x/", **MODELS).base_url
        == "http://vpce/x"
    )


_MAPPED = "x" * 101  # longer than what is drawn


@given(st.text(min_size=1, max_size=100))
@example("a")
def test_a_name_stays_one_part_of_the_path(model: str) -> None:
    if not model.strip("."):
        with pytest.raises(InvalidRequest):
            sent({"model": model}, models={_MAPPED: "b"})
        return
    try:
        url = sent({"model": model}, models={_MAPPED: "b"}).url
    except InvalidRequest:
        assert any("\ud800" <= letter <= "\udfff" for letter in model)
        return

    assert url.isascii()
    parts = url.removeprefix("https://bedrock-runtime.eu-central-1.amazonaws.com/").split("/")
    assert (parts[0], unquote(parts[1]), parts[2]) == ("model", model, "invoke")
    assert not set("?#; \\") & set(parts[1])


def test_an_arn_goes_quoted_into_the_path() -> None:
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"
    url = sent({}, model=arn, small_fast_model=arn).url

    assert url.endswith("/model/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile%2Fabc123/invoke")


@pytest.mark.parametrize("model", [".", "..", "x" * 2049])
def test_a_name_that_is_no_models_is_refused(model: str) -> None:
    with pytest.raises(InvalidRequest):
        sent({"model": model}, models={"a": "b"})


# -- the body ------------------------------------------------------------------------------------------


def test_what_bedrock_takes_stays_byte_for_byte() -> None:
    messages = b'[ {"role": "user",  "content":[{"type":"text","text":"\\u00e9 \xf0\x9f\x98\x80"}]} ]'
    raw = b'{ "model":"claude-x", "max_tokens": 1e3,"big":12345678901234567890123, "messages": ' + messages
    raw += b', "stream": true ,"odd": {"a":1,"a":2} }'

    expected = raw.replace(b'"model":"claude-x", ', b"").replace(b'"stream": true ,', b"").removesuffix(b" }")
    assert sent(raw).body == expected + b',"anthropic_version":"bedrock-2023-05-31" }'


@given(st.permutations(["model", "stream", "a", "b", *sorted(DROPPED_FIELDS)]), st.sampled_from(["", " ", "\n "]))
def test_members_leave_from_wherever_they_stand(order: list[str], space: str) -> None:
    values = {"model": '"claude-x"', "stream": "false", "a": "[1, 2]", "b": '{"metadata": 1}', "metadata": '{"x": ","}'}
    members = [f'{space}"{name}"{space}:{space}{values.get(name, "null")}{space}' for name in order]
    raw = f"{{{','.join(members)}}}".encode()

    found = json.loads(sent(raw).body)
    assert found == {"a": [1, 2], "b": {"metadata": 1}, "anthropic_version": "bedrock-2023-05-31"}
    assert sent(raw).body == sent(raw).body


@pytest.mark.parametrize("field", ["service_tier", "thinking", "max_tokens", "anthropic_beta", "output_config"])
def test_a_member_that_is_read_or_dropped_stands_once(field: str) -> None:
    with pytest.raises(InvalidRequest, match="duplicate key"):
        sent(f'{{"model":"a","{field}":1,"{field}":2}}'.encode())


def test_the_version_is_bedrocks_whatever_a_client_says() -> None:
    assert body_of({"anthropic_version": "2023-06-01"})["anthropic_version"] == "bedrock-2023-05-31"


SONNET_45, OPUS_45, OPUS_46 = "anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-opus-4-5", "claude-opus-4-6-v1"


@pytest.mark.parametrize("model", [SONNET_45, OPUS_45, OPUS_46, "arn:aws:bedrock:x:1:application-inference-profile/y"])
def test_only_flags_that_the_model_takes_get_into_the_body(model: str) -> None:
    said = ["oauth-2025-04-20", *BETA_FLAGS, "claude-code-20250219"]
    headers = [(b"Anthropic-Beta", ", ".join(said[:5]).encode()), (b"anthropic-beta", ",".join(said[4:]).encode())]
    request = sent({"anthropic_beta": [*said[:2], 7]}, headers, model=model, small_fast_model=model)

    special = {"context-management-2025-06-27": model == SONNET_45, "effort-2025-11-24": model == OPUS_45}
    assert json.loads(request.body)["anthropic_beta"] == [flag for flag in BETA_FLAGS if special.get(flag, True)]
    assert not any(name.lower() == b"anthropic-beta" for name, _ in request.headers)


def test_without_a_flag_that_is_taken_the_body_names_none() -> None:
    assert "anthropic_beta" not in body_of({"anthropic_beta": ["x"]}, [(b"anthropic-beta", b"oauth-2025-04-20")])


@pytest.mark.parametrize(
    ("model", "flags", "effort", "kept"),
    [
        (OPUS_45, b"effort-2025-11-24", "medium", {"effort": "medium", "format": {}}),
        (OPUS_45, b"effort-2025-11-24", "max", {"effort": "high"}),
        (OPUS_45, b"effort-2025-11-24", "xhigh", {"effort": "high"}),
        (OPUS_45, b"", "medium", None),
        (SONNET_45, b"effort-2025-11-24", "medium", None),
        (OPUS_46, b"", "max", {"effort": "max"}),
        (OPUS_46, b"", None, None),
    ],
)
def test_the_effort_goes_where_it_is_taken(model: str, flags: bytes, effort: str | None, kept: object) -> None:
    config = {"format": {}} if effort is None else {"effort": effort, "format": {}}
    found = body_of({"output_config": config}, [(b"anthropic-beta", flags)], model=model, small_fast_model=model)

    assert found.get("output_config") == kept


def test_context_management_needs_its_flag() -> None:
    asked: dict[str, Any] = {"context_management": {"edits": []}}
    flag = [(b"anthropic-beta", b"context-management-2025-06-27")]

    assert body_of(asked, flag)["context_management"] == {"edits": []}
    assert "context_management" not in body_of(asked)
    assert "context_management" not in body_of(asked, flag, model=OPUS_46, small_fast_model=OPUS_46)


# -- thinking ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("low", 6400), ("medium", 16000), ("high", 25600), (None, 25600), ("max", 30400), ("odd", 25600)],
)
def test_an_older_model_thinks_with_a_budget(effort: str | None, budget: int) -> None:
    config = {} if effort is None else {"output_config": {"effort": effort}}
    found = body_of({"thinking": {"type": "adaptive"}, "max_tokens": 32000, **config})

    assert found["thinking"] == {"type": "enabled", "budget_tokens": budget}
    assert "output_config" not in found


@given(st.integers(0, 10**6), st.sampled_from([("low", 0.2), ("medium", 0.5), ("high", 0.8), ("max", 0.95)]))
def test_the_budget_is_the_part_of_the_tokens_without_fraction(max_tokens: int, effort: tuple[str, float]) -> None:
    name, ratio = effort
    asked = {"thinking": {"type": "adaptive"}, "max_tokens": max_tokens, "output_config": {"effort": name}}
    found = body_of(asked)["thinking"]

    if found == {"type": "disabled"}:
        assert max_tokens * ratio < 1024.5
    else:
        assert found["type"] == "enabled"
        assert found["budget_tokens"] >= 1024
        assert abs(found["budget_tokens"] - max_tokens * ratio) <= 1
        assert found["budget_tokens"] < max_tokens


@pytest.mark.parametrize(
    ("model", "asked", "goes"),
    [
        ("claude-opus-4-6", {"type": "adaptive"}, {"type": "adaptive"}),
        ("claude-sonnet-4-6", {"type": "enabled", "budget_tokens": 2000}, {"type": "enabled", "budget_tokens": 2000}),
        ("claude-opus-4-7", {"type": "enabled", "budget_tokens": 2000}, {"type": "adaptive"}),
        (
            "claude-fable-5",
            {"budget_tokens": 2, "type": "enabled", "display": "x"},
            {"type": "adaptive", "display": "x"},
        ),
        ("claude-opus-4-20250514", {"type": "disabled"}, {"type": "disabled"}),
        ("some-profile", {"type": "adaptive"}, {"type": "adaptive"}),
    ],
)
def test_a_model_is_asked_to_think_as_it_can(model: str, asked: object, goes: object) -> None:
    found = body_of({"model": "x", "thinking": asked, "max_tokens": 32000}, model=model, small_fast_model=model)

    assert found["thinking"] == goes


def test_a_profile_without_a_telling_name_is_what_the_client_asked_for() -> None:
    arn = "arn:aws:bedrock:eu-central-1:1:application-inference-profile/y"
    asked = {"model": "claude-sonnet-4-5", "thinking": {"type": "adaptive"}, "max_tokens": 10000}

    assert body_of(asked, model=arn, small_fast_model=arn)["thinking"] == {"type": "enabled", "budget_tokens": 8000}


# -- headers -------------------------------------------------------------------------------------------

PARTNER = "APN_1.1%2Fpc_1a2b3c4d%24"


@pytest.mark.parametrize(
    ("said", "ids", "goes"),
    [
        (b"claude-cli/2.1 (x)", {"partner_id": PARTNER}, f"claude-cli/2.1 (x) sdk-ua-app-id/{PARTNER}"),
        (None, {"partner_id": PARTNER}, f"sdk-ua-app-id/{PARTNER}"),
        (b"a/1", {"partner_id": PARTNER, "app_id": "shop"}, f"a/1 app/shop sdk-ua-app-id/{PARTNER}"),
        (b"a/1 sdk-ua-app-id/other", {"partner_id": PARTNER}, f"a/1 sdk-ua-app-id/other sdk-ua-app-id/{PARTNER}"),
        (b"a/1 app/shop", {"app_id": "shop"}, "a/1 app/shop"),
        (b"a/1  (two  spaces)", {}, "a/1  (two  spaces)"),
        (None, {}, None),
    ],
)
def test_the_partner_is_named_behind_the_clients_program(
    said: bytes | None, ids: dict[str, Any], goes: str | None
) -> None:
    headers = [] if said is None else [(b"user-agent", said)]
    request = sent({}, headers, **MODELS, **ids)

    programs = [value for name, value in request.headers if name == b"user-agent"]
    assert programs == ([] if goes is None else [goes.encode()])


def test_headers_that_are_awss_own_are_not_the_clients_to_set() -> None:
    headers = [
        (b"X-Amz-Security-Token", b"x"),
        (b"x-amzn-bedrock-service-tier", b"priority"),
        (b"anthropic-version", b"2023-06-01"),
        (b"x-stainless-lang", b"python"),
        (b"content-type", b"application/json; charset=utf-8"),
    ]

    assert sent({}, headers).headers == headers[3:]
    assert sent({}, headers[:4]).headers == [headers[3], (b"content-type", b"application/json")]


def test_no_other_provider_is_told_of_the_partner() -> None:
    for provider in (providers.anthropic(), providers.openai(), providers.copilot()):
        assert provider.platform is None


# -- settings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({**MODELS, "region": ""}, "region of provider 'bedrock'"),
        ({**MODELS, "region": "us-east-1.evil.test/"}, "region of provider"),
        ({"model": "a"}, "small_fast_model of provider 'bedrock': is missing"),
        ({"small_fast_model": "a"}, "model of provider 'bedrock': is missing"),
        ({"models": {"a": ""}}, "models of provider"),
        ({**MODELS, "partner_id": "a b"}, "partner_id of provider"),
        ({**MODELS, "app_id": "a\r\nb"}, "app_id of provider"),
    ],
)
def test_what_is_missing_or_wrong_is_named(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        bedrock(credentials=PlainProof(), **{"region": "us-east-1", **settings})


def test_proof_is_made_for_what_is_sent_and_for_nothing_else() -> None:
    proof, upstream = PlainProof(), ScriptedUpstream(Journal(), [Scripted((b"{}",), 200, [])])
    provider = bedrock(credentials=proof, region="us-east-1", **MODELS)
    assert provider.platform is not None
    body = b'{"model":"claude-haiku"}'
    request = UpstreamRequest("POST", f"{provider.base_url}/v1/messages", [], body)
    served: list[Credential] = []

    async def asked() -> bytes:
        assert provider.platform is not None
        opening = provider.platform.open(upstream, request, UpstreamTimeouts(1, 1, 1), "/v1/messages", served.append)
        async with opening as response:
            return await response.read()

    assert asyncio.run(asked()) == b"{}"
    assert [one.url for one in proof.proved] == [one.url for one in upstream.requests]
    assert upstream.requests[0].body == proof.proved[0].body
    assert upstream.requests[0].headers == [*proof.proved[0].headers, (b"authorization", b"proof 1")]
    assert [(one.kind, one.hint, one.secrets) for one in served] == [
        ("centralized", "AKIA...MPLE", ("secret-session-token",))
    ]

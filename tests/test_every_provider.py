"""What no request may bring about at any kind of provider, through the whole bridge: generated paths and headers.

Whatever a client sends, a provider is asked at its own address on a path of the table, once, with one credential.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aibridge import Actor, RequestBridge
from aibridge.errors import Header
from aibridge.ports import Identity, UpstreamRequest
from aibridge.providers.anthropic import anthropic
from aibridge.providers.azure import azure
from aibridge.providers.base import Provider
from aibridge.providers.bedrock import bedrock
from aibridge.providers.copilot import copilot
from aibridge.providers.openai import openai
from aibridge.providers.vertex import vertex
from aibridge.recorders.memory import MemoryRecorder
from tests.fakes.cloud import PlainProof
from tests.fakes.journal import Journal
from tests.fakes.upstream import JSON, Scripted, ScriptedUpstream

KEY = "sk-central-CANARYKEY-0001"
GATEWAY_KEY = b"the-gateway-key"
PARTNER = "APN_1.1%2Fpc_example%24"
MODEL = "claude-sonnet-4-5"


@dataclass(frozen=True)
class Kind:
    """One kind of provider, and all that it may ever be asked: (method, path) behind its address, `*` for an id."""

    provider: Provider
    asked: Sequence[str]
    central: str  # the header that the central credential is in
    own: Sequence[str] = ()  # the headers in which a user's own credential is taken


MESSAGES = """POST /v1/messages, POST /v1/messages/count_tokens, GET /v1/models, HEAD /v1/models, GET /v1/models/*,
HEAD /v1/models/*, POST /api/event_logging/*"""
OPENAI = """POST /chat/completions, POST /responses, POST /responses/compact, POST /responses/input_tokens,
GET /responses/*, DELETE /responses/*, POST /responses/*, POST /conversations, GET /conversations/*,
POST /conversations/*, DELETE /conversations/*, GET /models, HEAD /models, GET /models/*, HEAD /models/*"""
COPILOT = """POST /chat/completions, POST /responses, POST /v1/messages, GET /models, HEAD /models, GET /models/*,
HEAD /models/*, POST /models/*, GET /_ping, HEAD /_ping, GET /auto, HEAD /auto, POST /auto, GET /mcp/*, POST /mcp/*,
DELETE /mcp/*, GET /agents/*, HEAD /agents/*, POST /agents/*, PUT /agents/*, PATCH /agents/*, DELETE /agents/*,
GET /.well-known/*, HEAD /.well-known/*"""
BEDROCK = "POST /model/*/invoke, POST /model/*/invoke-with-response-stream"
GOOGLE = "/projects/p/locations/us-east5/publishers/anthropic/models"
VERTEX = f"POST {GOOGLE}/*:rawPredict, POST {GOOGLE}/*:streamRawPredict, POST {GOOGLE}/count-tokens:rawPredict"


def kind(provider: Provider, asked: str, central: str = "", *own: str) -> Kind:
    return Kind(provider, [shape.strip() for shape in asked.split(",")], central, own)


def kinds() -> Iterator[Kind]:
    yield kind(anthropic(key=KEY), MESSAGES, "x-api-key", "x-api-key", "authorization")
    yield kind(openai(key=KEY), OPENAI, "authorization", "authorization")
    plain = azure(base_url="https://team.openai.azure.com/openai/v1", key=KEY)
    yield kind(plain, OPENAI, "api-key", "api-key", "authorization")
    dated = azure(name="azure-dated", base_url="https://team.openai.azure.com", api_version="2025-04-01", key=KEY)
    yield kind(dated, OPENAI + ", POST /deployments/*/chat/completions", "api-key", "api-key", "authorization")
    yield kind(copilot(), COPILOT, "", "authorization")
    aws = bedrock(credentials=PlainProof(), region="eu-central-1", partner_id=PARTNER, models={MODEL: "anthropic.m"})
    yield kind(aws, BEDROCK, "authorization")
    cloud = vertex(credentials=PlainProof(), project="p", region="us-east5", models={MODEL: "m@1"})
    yield kind(cloud, VERTEX, "authorization")


KINDS = {one.provider.name: one for one in kinds()}
PATHS = {
    "anthropic": ("/v1/messages", "/v1/models", "/v1/models/claude-x", "/v1/messages/count_tokens"),
    "openai": ("/v1/chat/completions", "/v1/responses", "/v1/responses/compact", "/v1/models", "/v1/conversations"),
    "copilot": ("/chat/completions", "/responses", "/v1/messages", "/models", "/agents/a/b", "/_ping", "/auto"),
}
MUTATIONS = ("/", "/..", "/%2e%2e/admin", "//evil.example/", "%2f", ";a=b", "/../../keys", "\\x", "/x/y", "?a=b", "@h")
BODY = {
    "model": MODEL,
    "max_tokens": 8,
    "messages": [{"role": "user", "content": "hello"}],
    "input": "hello",
}
CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization")
OWN = st.dictionaries(
    st.sampled_from([*CREDENTIALS, "x-aibridge-token", "x-forwarded-host", "x-coder-token", "forwarded"]),
    st.sampled_from(["Bearer own-credential", "own-credential"]),
    max_size=3,
)


class KnownGateway:
    """Lets everybody in and, as an authenticator must, takes the gateway's own credential out of the request."""

    async def authenticate(self, scope: Mapping[str, Any]) -> Identity:
        headers = [header for header in scope["headers"] if header[1] != GATEWAY_KEY]
        return Identity(Actor(id="the-actor"), headers, scope["query_string"])


async def answered(of: Kind, method: str, path: str, headers: Sequence[Header]) -> tuple[int, list[UpstreamRequest]]:
    """The status that a client gets, and what the provider was asked meanwhile."""
    upstream = ScriptedUpstream(Journal(), [Scripted([b"{}"], headers=(JSON,)) for _ in range(4)])
    said: list[dict[str, Any]] = []
    body, query = json.dumps(BODY).encode(), path.partition("?")[2]
    messages = [{"type": "http.request", "body": b"" if method in ("GET", "HEAD") else body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        said.append(message)

    raw = f"/{of.provider.name}{path.partition('?')[0]}"
    scope = {
        "type": "http",
        "method": method,
        "path": raw,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "client": ("192.0.2.1", 1),
        "headers": [(b"host", b"gateway"), (b"x-api-key-of-ours", GATEWAY_KEY), *headers],
    }
    bridge = RequestBridge(
        providers=[of.provider], recorder=MemoryRecorder(), upstream=upstream, authenticator=KnownGateway()
    )
    async with bridge, asyncio.timeout(10):
        await bridge(scope, receive, send)
    return said[0]["status"], upstream.requests


def is_of(of: Kind, request: UpstreamRequest) -> bool:
    """Whether the request is one that this provider may be asked."""
    base = of.provider.base_url
    if not request.url.startswith(base):
        return False
    path = request.url[len(base) :].partition("?")[0]
    return any(matches(f"{request.method} {path}", shape) for shape in of.asked)


def matches(asked: str, shape: str) -> bool:
    before, star, after = shape.partition("*")
    if not star:
        return asked == shape
    between = asked[len(before) : len(asked) - len(after)] if after else asked[len(before) :]
    whole = asked.startswith(before) and asked.endswith(after) and len(asked) >= len(before) + len(after)
    return whole and not any(part in ("", ".", "..") for part in between.strip("/").split("/") if between)


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=120)
@given(data=st.data())
def test_a_provider_is_asked_at_its_own_address_with_one_credential(name: str, data: st.DataObject) -> None:
    of = KINDS[name]
    path = data.draw(st.sampled_from(PATHS[of.provider.type])) + data.draw(st.sampled_from(["", *MUTATIONS]))
    method = data.draw(st.sampled_from(["POST", "POST", "GET", "DELETE", "HEAD", "PUT"]))
    own = data.draw(OWN)
    headers = [(header.encode(), value.encode()) for header, value in own.items()]

    status, requests = asyncio.run(answered(of, method, path, [*headers, (b"user-agent", b"agent/1")]))

    assert len(requests) <= 1
    assert requests or status >= 400 or status == 200  # a list that is made here, or a refusal
    for request in requests:
        assert is_of(of, request), request.url
        sent = {header.decode().lower(): value for header, value in request.headers}
        assert len(sent) == len(request.headers)
        brought = [header for header in of.own if header in own and taken(header, own[header])]
        central = not brought and bool(of.central)
        proof = [header for header in CREDENTIALS if header in sent]
        if of.provider.platform is not None:
            assert [sent[header].split()[0] for header in proof] == [b"proof"]
        else:
            assert len(proof) == 1
            assert (KEY.encode() in sent[proof[0]]) is central
            assert (b"own-credential" in sent[proof[0]]) is not central
            assert not central or proof == [of.central]
        told = b" ".join(value for header, value in request.headers if header.lower() not in map(str.encode, proof))
        # What was forwarded before is told on passthrough, and nobody is authenticated by it.
        assert b"own-credential" not in told.replace(sent.get("x-forwarded-host", b"\0"), b"")
        assert GATEWAY_KEY not in told
        assert (b"sdk-ua-app-id" in sent["user-agent"]) is (name == "bedrock")
        assert KEY.encode() not in request.body + request.url.encode()


def taken(header: str, value: str) -> bool:
    """A key may stand alone; in Authorization it is a bearer's."""
    return header != "authorization" or value.startswith("Bearer ")


@pytest.mark.parametrize("name", KINDS)
def test_the_story_reaches_every_kind(name: str) -> None:
    """Without it the claims above could hold because nobody is ever asked."""
    of = KINDS[name]
    path = PATHS[of.provider.type][0]

    status, requests = asyncio.run(
        answered(of, "POST", path, [(b"authorization", b"Bearer own-credential")] if not of.central else [])
    )

    assert (status, len(requests)) == (200, 1)

from typing import Any

import pytest

from aibridge.actor import Actor
from aibridge.errors import Header
from aibridge.providers.anthropic import anthropic
from aibridge.providers.credential import Credential, choose_credential
from aibridge.providers.headers import NOSNIFF, SANDBOX, client_headers, upstream_headers
from aibridge.providers.openai import openai

ACTOR = Actor(id="u-1", username="alice", email="alice@example.com", metadata={"team": "red"})
CENTRAL = Credential("centralized", "...", (b"x-api-key", b"central"))
OWN = Credential("byok", "...", (b"authorization", b"Bearer own"))
SCOPE: dict[str, Any] = {"type": "http", "client": ("192.0.2.7", 50123), "scheme": "https"}

# What Claude Code sends, as a server hands it over.
CLAUDE_CODE: list[Header] = [
    (b"host", b"127.0.0.1:8787"),
    (b"accept", b"application/json"),
    (b"user-agent", b"claude-cli/2.1.329 (external, sdk-cli)"),
    (b"x-claude-code-session-id", b"0b6f7a0e-3a55-4f43-9a0f-6f5a3f0c1d2e"),
    (b"x-stainless-arch", b"x64"),
    (b"x-stainless-retry-count", b"0"),
    (b"anthropic-beta", b"claude-code-20250219,interleaved-thinking-2025-05-14"),
    (b"anthropic-beta", b"effort-2025-11-24 , x"),
    (b"anthropic-dangerous-direct-browser-access", b"true"),
    (b"anthropic-version", b"2023-06-01"),
    (b"x-app", b"cli"),
    (b"content-type", b"application/json"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"content-length", b"49152"),
    (b"connection", b"keep-alive"),
]


def sent(headers: list[Header], **settings: Any) -> list[Header]:
    arguments: dict[str, Any] = {
        "provider": openai(key="central"),
        "credential": CENTRAL,
        "actor": ACTOR,
        "bridged": True,
    }
    return upstream_headers(headers, **(arguments | settings))


def names(headers: list[Header]) -> list[bytes]:
    return [name for name, _ in headers]


def test_what_claude_code_says_of_itself_arrives_byte_for_byte_and_in_order() -> None:
    provider = anthropic(key="sk-central")
    credential = choose_credential(provider, CLAUDE_CODE)

    assert sent(CLAUDE_CODE, provider=provider, credential=credential) == [
        *CLAUDE_CODE[1:12],
        (b"accept-encoding", b"identity"),
        (b"x-api-key", b"sk-central"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "connection keep-alive proxy-connection te trailer transfer-encoding upgrade proxy-authenticate",
        "expect http2-settings host content-length authorization x-api-key api-key x-goog-api-key",
        "proxy-authorization cookie forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-anything",
        "coder-session-token x-coder-ai-governance-token x-coder-chat-id x-aibridge-token x-aibridge-interception-id",
        "x-ai-bridge-actor-id x-ai-bridge-actor-metadata-username x-ai-bridge-actor-metadata-x",
        "openai-organization openai-project",
        "x_api_key x_aibridge_token x_ai_bridge_actor_id X-Api-Key openai_organization x_forwarded_for",
    ],
)
def test_what_is_not_the_clients_to_say_does_not_leave(name: str) -> None:
    headers = [(one.encode(), b"canary") for one in name.split()]

    for bridged in (True, False):
        assert all(value != b"canary" for _, value in sent(headers, bridged=bridged))


def test_a_coding_is_asked_for_by_nobody_but_us() -> None:
    for bridged in (True, False):
        found = [value for name, value in sent(CLAUDE_CODE, bridged=bridged) if name == b"accept-encoding"]
        assert found == [b"identity"]


def test_what_connection_nominates_ends_at_this_hop_in_any_spelling() -> None:
    headers = [
        (b"connection", b"close, X-Private"),
        (b"x-private", b"1"),
        (b"x_private", b"2"),
        (b"x-public", b"3"),
        (b"connection", b" x-second ,,"),
        (b"x-second", b"4"),
    ]

    assert sent(headers)[:-2] == [(b"x-public", b"3")]


def test_connection_cannot_nominate_what_we_add() -> None:
    headers = [(b"connection", b"x-api-key, accept-encoding, x-who, user-agent, x-forwarded-for")]
    provider = openai(key="central", send_actor_headers={"id": "X-Who"})

    assert sent(headers, provider=provider, bridged=False, scope=SCOPE) == [
        (b"accept-encoding", b"identity"),
        (b"user-agent", b"aibridge"),
        (b"x-forwarded-for", b"192.0.2.7"),
        (b"x-forwarded-proto", b"https"),
        (b"x-api-key", b"central"),
        (b"X-Who", b"u-1"),
    ]


def test_the_account_is_the_clients_to_choose_only_with_its_own_credential() -> None:
    headers = [(b"openai-organization", b"org-1"), (b"openai-project", b"proj-1"), (b"openai-beta", b"x")]

    assert names(sent(headers))[:-2] == [b"openai-beta"]
    assert sent(headers, credential=OWN)[:-2] == headers


def test_a_content_coding_goes_when_the_body_goes_out_without_it() -> None:
    headers = [(b"content-encoding", b"zstd"), (b"content-type", b"application/json")]

    assert b"content-encoding" not in names(sent(headers, body_was_encoded=True))
    assert (b"content-encoding", b"zstd") in sent(headers, bridged=False)


def test_the_headers_in_which_a_trusted_proxy_names_the_user_stay_here() -> None:
    headers = [(b"x-remote-user", b"alice"), (b"x_remote_user", b"bob"), (b"x-other", b"1")]

    assert sent(headers, own_identity_headers=[b"X-Remote-User"])[:-2] == [(b"x-other", b"1")]


def test_actor_headers_are_said_only_by_us() -> None:
    names_of = {"id": "X-AI-Bridge-Actor-ID", "username": "X-Who", "email": "X-Mail", "team": "X-Team", "none": "X-No"}
    provider = openai(key="central", send_actor_headers=names_of)
    forged = [(name.lower().encode(), b"mallory") for name in names_of.values()] + [(b"x_who", b"mallory")]

    assert sent(forged, provider=provider)[-4:] == [
        (b"X-AI-Bridge-Actor-ID", b"u-1"),
        (b"X-Who", b"alice"),
        (b"X-Mail", b"alice@example.com"),
        (b"X-Team", b"red"),
    ]
    assert b"mallory" not in [value for _, value in sent(forged, provider=provider)]


def test_a_header_of_an_actor_who_lacks_the_attribute_cannot_be_forged_either() -> None:
    provider = openai(key="central", send_actor_headers={"email": "X-Mail"})

    assert b"x-mail" not in names(sent([(b"x-mail", b"mallory")], provider=provider, actor=Actor(id="u-1")))


@pytest.mark.parametrize(
    ("username", "value"),
    [
        ("a\r\nX-Api-Key: stolen", b"a%0D%0AX-Api-Key: stolen"),
        (" padded\t", b"padded"),
        ("Zoë", "Zoë".encode()),
        ("\ud800", b"?"),
        ("nul\x00", b"nul%00"),
    ],
)
def test_a_persons_name_stays_on_one_line(username: str, value: bytes) -> None:
    provider = openai(key="central", send_actor_headers={"username": "X-Who"})

    assert sent([], provider=provider, actor=Actor(id="u", username=username))[-1] == (b"X-Who", value)


def test_passthrough_tells_where_a_request_came_from() -> None:
    headers = [(b"host", b"bridge.example"), (b"user-agent", b"curl/8"), (b"x-forwarded-for", b"203.0.113.9")]

    assert sent(headers, bridged=False, scope=SCOPE) == [
        (b"user-agent", b"curl/8"),
        (b"accept-encoding", b"identity"),
        (b"x-forwarded-for", b"203.0.113.9, 192.0.2.7"),
        (b"x-forwarded-host", b"bridge.example"),
        (b"x-forwarded-proto", b"https"),
        (b"x-api-key", b"central"),
    ]


@pytest.mark.parametrize(
    "scope", [{}, {"client": None}, {"client": ("", 0)}, {"client": ("a\r\nb", 1), "scheme": "x\r\ny"}]
)
def test_passthrough_says_nothing_of_a_peer_that_has_no_address(scope: dict[str, Any]) -> None:
    found = names(sent([(b"x-forwarded-for", b"1.2.3.4")], bridged=False, scope=scope))

    assert b"x-forwarded-for" not in found


def test_passthrough_names_itself_only_for_a_client_without_a_name() -> None:
    assert (b"user-agent", b"aibridge") in sent([], bridged=False)
    assert b"user-agent" not in names(sent([], bridged=True))


def test_what_a_client_needs_of_an_answer_arrives_byte_for_byte_and_in_order() -> None:
    answered = [
        (b"Content-Type", b"text/event-stream; charset=utf-8"),
        (b"request-id", b"req_011"),
        (b"x-request-id", b"r\xc3\xa4"),
        (b"Retry-After", b"3"),
        (b"retry-after-ms", b"3000"),
        (b"x-should-retry", b"true"),
        (b"anthropic-ratelimit-requests-remaining", b"0"),
        (b"x-ratelimit-limit-requests", b"1"),
        (b"openai-processing-ms", b"12"),
        (b"www-authenticate", b"Bearer"),
        (b"via", b"1.1 a"),
        (b"via", b"1.1 b"),
    ]

    assert client_headers(answered, length_kept=False) == [
        *((name.lower(), value) for name, value in answered),
        NOSNIFF,
    ]


@pytest.mark.parametrize(
    "name",
    [
        "Connection Keep-Alive Proxy-Authenticate Proxy-Connection TE Trailer Transfer-Encoding Upgrade",
        "Set-Cookie Set-Cookie2 Location Access-Control-Allow-Origin access-control-anything Clear-Site-Data Alt-Svc",
        "Service-Worker-Allowed X-Content-Type-Options x-aibridge-interception-id Content-Length",
    ],
)
def test_what_acts_on_the_gateways_own_origin_or_framing_does_not_come_back(name: str) -> None:
    answered = [(one.encode(), b"canary") for one in name.split()]

    assert client_headers(answered, length_kept=False) == [NOSNIFF]


def test_what_the_providers_connection_nominates_ends_at_this_hop() -> None:
    answered = [(b"Connection", b"close, X-Hop"), (b"X-Hop", b"1"), (b"X_Hop", b"1"), (b"X-Stays", b"2")]

    assert client_headers(answered, length_kept=True) == [(b"x-stays", b"2"), NOSNIFF]


def test_the_length_is_told_only_of_a_body_that_stays_the_same() -> None:
    answered = [(b"Content-Length", b"12")]

    assert client_headers(answered, length_kept=True)[0] == (b"content-length", b"12")


def test_what_passes_through_is_sandboxed_once() -> None:
    answered = [(b"Content-Security-Policy", b"script-src *")]

    assert client_headers(answered, length_kept=True, passthrough=True) == [NOSNIFF, SANDBOX]
    assert client_headers(answered, length_kept=True)[0] == (b"content-security-policy", b"script-src *")

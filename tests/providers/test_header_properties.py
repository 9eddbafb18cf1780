"""What no set of headers may bring about, over every type of provider, every route and every kind of credential."""

import itertools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.actor import Actor
from aibridge.errors import Header, Refused
from aibridge.providers import FACTORIES
from aibridge.providers.base import Provider, RouteRule
from aibridge.providers.credential import choose_credential
from aibridge.providers.headers import client_headers, upstream_headers

KEY = "sk-central-CANARYKEY-0001"
ACTOR = Actor(id="the-actor", username="alice")
ACTOR_HEADERS = {"id": "X-AI-Bridge-Actor-ID", "username": "X-Person"}
SCOPE = {"client": ("192.0.2.1", 1), "scheme": "http"}

# Written out here once more, so that a name lost from the table is noticed.
NEVER = (
    b"connection keep-alive proxy-connection te trailer transfer-encoding upgrade host content-length authorization "
    b"x-api-key api-key x-goog-api-key proxy-authorization cookie x-forwarded-for x-forwarded-x forwarded "
    b"coder-session-token x-aibridge-token x-aibridge-x x-coder-x x-ai-bridge-actor-id x-person"
).split()
ACCOUNT = [b"openai-organization", b"openai-project"]
PASSES = (
    b"accept anthropic-version anthropic-beta x-stainless-lang originator editor-version session-id "
    b"session_id copilot-integration-id content-type x-private idempotency-key traceparent openai-beta x-api-keys"
).split()
CREDENTIALS = {b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"cookie", b"proxy-authorization"}

VALUES = st.binary(min_size=0, max_size=12).map(lambda raw: raw.replace(b"\r", b"").replace(b"\n", b""))


def spelled(name: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from([name, name.replace(b"-", b"_"), name.title()])


PASSING = st.tuples(st.sampled_from(PASSES), VALUES)
# Each value that must not leave says so. The two credentials that are looked at come with the story, not from here.
LOOK_ALIKES = st.tuples(
    st.sampled_from([*NEVER, b"x_api_key"]).flatmap(spelled), VALUES.map(lambda value: b"CAUGHT" + value)
).filter(lambda header: header[0].lower() not in (b"authorization", b"x-api-key"))
BILLED = st.tuples(st.sampled_from(ACCOUNT).flatmap(spelled), VALUES.map(lambda value: b"BILLED" + value))
NOMINATIONS = st.tuples(
    st.just(b"connection"), st.lists(st.sampled_from([*PASSES, *NEVER, b"close", b""]), max_size=3).map(b" , ".join)
)
OWN: list[list[Header]] = [
    [],
    [(b"authorization", b"Bearer own-credential")],
    [(b"x-api-key", b"own-credential")],
    [(b"authorization", b"Bearer own-other"), (b"x-api-key", b"own-credential")],
]


def providers() -> Iterator[Provider]:
    for kind, factory in FACTORIES.items():
        yield factory(send_actor_headers=ACTOR_HEADERS)
        if kind != "copilot":
            yield factory(key=KEY, send_actor_headers=ACTOR_HEADERS)
            yield factory(key=KEY, send_actor_headers=ACTOR_HEADERS, allow_byok=False)


PROVIDERS = list(providers())
ROUTES = [(provider, rule) for provider in PROVIDERS for rule in provider.rules]


def nominated(headers: Sequence[Header]) -> set[bytes]:
    options = b",".join(value for name, value in headers if name == b"connection").split(b",")
    return {option.strip().replace(b"_", b"-") for option in options}


@pytest.mark.parametrize("own", OWN, ids=["none", "bearer", "api-key", "both"])
@given(
    route=st.sampled_from(ROUTES),
    headers=st.lists(st.one_of(PASSING, LOOK_ALIKES, BILLED, NOMINATIONS), max_size=12),
    place=st.integers(0, 12),
)
def test_one_credential_leaves_and_all_that_may_pass_does(
    own: list[Header], route: tuple[Provider, RouteRule], headers: list[Header], place: int
) -> None:
    provider, rule = route
    headers[place:place] = own
    try:
        credential = choose_credential(provider, headers)
    except Refused:
        return  # test_credential.py says which
    sent = upstream_headers(
        headers,
        provider=provider,
        credential=credential,
        actor=ACTOR,
        bridged=rule.dialect is not None,
        scope=SCOPE,
    )

    central = credential.kind == "centralized"
    assert [header for header in sent if header[0].lower() in CREDENTIALS] == [credential.header]
    assert central is any(b"CANARYKEY" in value for _, value in sent)
    assert central is not any(b"own-" in value for _, value in sent)
    # Passthrough tells the client's Host and what was forwarded before; nobody is authenticated by them.
    assert not any(b"CAUGHT" in value for name, value in sent if not name.startswith(b"x-forwarded-"))
    assert not (central and any(b"BILLED" in value for _, value in sent))
    for attribute, name in provider.send_actor_headers.items():
        said = [value for found, value in sent if found.lower().replace(b"_", b"-") == name.lower().encode()]
        assert said == [getattr(ACTOR, attribute).encode()]
    dropped = nominated(headers)
    passing = [header for header in headers if header[0] in PASSES and header[0].replace(b"_", b"-") not in dropped]
    assert [header for header in sent if header[0] in PASSES] == passing


@given(
    st.lists(
        st.one_of(
            PASSING,
            st.tuples(st.sampled_from([b"Set-Cookie", b"Location", b"Alt-Svc", b"Upgrade"]), st.just(b"CAUGHT")),
            NOMINATIONS,
        ),
        max_size=10,
    )
)
def test_the_way_back_keeps_order_and_bytes_and_lets_nothing_act_on_our_origin(answered: list[Header]) -> None:
    returned = client_headers(answered, length_kept=False, passthrough=True)

    dropped = {option.lower() for option in nominated(answered)} | {b"connection"}
    kept = [(name, value) for name, value in answered if name in PASSES and name.replace(b"_", b"-") not in dropped]
    assert [header for header in returned if header[0] in PASSES] == kept
    assert not any(value == b"CAUGHT" for _, value in returned)
    assert returned[-2:] == [(b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"sandbox")]


def test_the_story_covers_every_route_with_and_without_a_central_key() -> None:
    pairs = itertools.groupby(sorted((provider.type, provider.key is not None) for provider in PROVIDERS))

    assert {pair for pair, _ in pairs} == {
        ("anthropic", False),
        ("anthropic", True),
        ("openai", False),
        ("openai", True),
        ("copilot", False),
    }

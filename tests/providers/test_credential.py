from collections.abc import Callable

import pytest

from aibridge.errors import Header, Refused
from aibridge.providers.anthropic import anthropic
from aibridge.providers.base import Provider
from aibridge.providers.copilot import copilot
from aibridge.providers.credential import Credential, choose_credential
from aibridge.providers.openai import openai

KEY = "sk-central-0123456789-wxyz"
BEARER: Header = (b"authorization", b"Bearer sk-own-abcdefghijklmnop")
API_KEY: Header = (b"x-api-key", b"sk-ant-api03-abcdefgh")


@pytest.mark.parametrize(
    ("provider", "headers", "sent"),
    [
        (anthropic(key=KEY), [], (b"x-api-key", KEY.encode())),
        (openai(key=KEY), [], (b"authorization", b"Bearer " + KEY.encode())),
        # What is no credential for that provider does not make the request the user's own.
        (openai(key=KEY), [API_KEY], (b"authorization", b"Bearer " + KEY.encode())),
        (openai(key=KEY), [(b"authorization", b"Basic dTpw")], (b"authorization", b"Bearer " + KEY.encode())),
        (anthropic(key=KEY), [(b"authorization", b"Bearer ")], (b"x-api-key", KEY.encode())),
        (anthropic(key=KEY), [(b"x-api-key", b"")], (b"x-api-key", KEY.encode())),
        (anthropic(key=KEY), [(b"authorization", b"Bearer")], (b"x-api-key", KEY.encode())),
    ],
)
def test_without_a_credential_of_the_users_own_the_central_key_is_sent(
    provider: Provider, headers: list[Header], sent: Header
) -> None:
    chosen = choose_credential(provider, headers)

    assert (chosen.kind, chosen.hint, chosen.header) == ("centralized", "sk-c...wxyz", sent)
    assert chosen.secrets == (KEY,)


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize(
    ("make", "headers", "sent", "secret"),
    [
        (anthropic, [API_KEY], API_KEY, "sk-ant-api03-abcdefgh"),
        (anthropic, [BEARER], BEARER, "sk-own-abcdefghijklmnop"),
        (anthropic, [BEARER, API_KEY], API_KEY, "sk-ant-api03-abcdefgh"),
        (openai, [BEARER], BEARER, "sk-own-abcdefghijklmnop"),
        (openai, [API_KEY, BEARER], BEARER, "sk-own-abcdefghijklmnop"),
        (openai, [(b"authorization", b"bearer x")], (b"authorization", b"bearer x"), "x"),
    ],
)
def test_the_users_own_credential_is_sent_as_it_came_before_any_central_key(
    make: Callable[..., Provider], headers: list[Header], sent: Header, secret: str, key: str | None
) -> None:
    chosen = choose_credential(make(key=key), headers)

    assert (chosen.kind, chosen.header, chosen.secrets) == ("byok", sent, (secret,))


def test_copilot_is_always_asked_with_the_users_own_bearer() -> None:
    chosen = choose_credential(copilot(), [BEARER, API_KEY])

    assert (chosen.kind, chosen.hint, chosen.header) == ("byok", "sk-o...mnop", BEARER)


@pytest.mark.parametrize("headers", [[], [API_KEY], [(b"authorization", b"Basic dTpw")]])
def test_copilot_without_a_bearer_is_a_401_that_a_client_does_not_retry(headers: list[Header]) -> None:
    with pytest.raises(Refused) as refused:
        choose_credential(copilot(name="copilot-business"), headers)

    problem = refused.value.problem
    assert problem.status == 401
    assert "copilot-business" in problem.message
    assert dict(problem.headers) == {b"www-authenticate": b"Bearer", b"x-should-retry": b"false"}


@pytest.mark.parametrize(("provider", "where"), [(anthropic(), "X-Api-Key"), (openai(), "Authorization: Bearer")])
def test_with_no_key_anywhere_the_401_says_what_to_send(provider: Provider, where: str) -> None:
    with pytest.raises(Refused) as refused:
        choose_credential(provider, [])

    assert refused.value.problem.status == 401
    assert where in refused.value.problem.message
    assert (b"x-should-retry", b"false") in refused.value.problem.headers


def test_a_provider_with_neither_key_nor_byok_sends_its_users_to_who_runs_it() -> None:
    with pytest.raises(Refused) as refused:
        choose_credential(openai(allow_byok=False), [])

    assert (refused.value.problem.status, "who runs this gateway" in refused.value.problem.message) == (401, True)


@pytest.mark.parametrize("make", [anthropic, openai])
@pytest.mark.parametrize("key", [None, KEY])
def test_the_users_own_credential_is_forbidden_where_the_provider_says_so(
    make: Callable[..., Provider], key: str | None
) -> None:
    provider = make(key=key, allow_byok=False)

    with pytest.raises(Refused) as refused:
        choose_credential(provider, [BEARER])

    assert refused.value.problem.status == 403
    assert "sk-own" not in refused.value.problem.message


@pytest.mark.parametrize("doubled", [[BEARER, BEARER], [API_KEY, (b"x-api-key", b"other")]])
@pytest.mark.parametrize("provider", [anthropic(key=KEY), openai(key=KEY), copilot()])
def test_a_credential_header_that_occurs_twice_is_a_400(provider: Provider, doubled: list[Header]) -> None:
    with pytest.raises(Refused) as refused:
        choose_credential(provider, [BEARER, *doubled] if doubled[0] == API_KEY else doubled)

    assert refused.value.problem.status == 400
    assert "sk-" not in refused.value.problem.message


def test_a_credential_does_not_show_itself() -> None:
    shown = repr(choose_credential(anthropic(key=KEY), [BEARER]))

    assert "abcdefghijklmnop" not in shown
    assert "sk-o...mnop" in shown


def test_a_credential_without_a_header_holds_no_secret() -> None:
    assert Credential("byok", "...", None).secrets == ()

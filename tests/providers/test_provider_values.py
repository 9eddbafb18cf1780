from typing import Any, get_args

import pytest

from aibridge.breaker import BreakerSettings
from aibridge.credentials import Secret
from aibridge.dialects.messages import MESSAGES
from aibridge.providers import FACTORIES
from aibridge.providers.anthropic import anthropic
from aibridge.providers.base import Provider, ProviderType, RouteRule
from aibridge.providers.copilot import copilot
from aibridge.providers.openai import openai

KEY = "sk-ant-api03-abcdefgh"


def test_every_type_has_a_factory_that_needs_nothing_but_defaults() -> None:
    made = {kind: factory() for kind, factory in FACTORIES.items()}

    assert set(made) == set(get_args(ProviderType))
    assert {kind: (provider.type, provider.name) for kind, provider in made.items()} == {
        kind: (kind, kind) for kind in made
    }


@pytest.mark.parametrize(
    ("provider", "base_url", "errors", "attributed"),
    [
        (anthropic(), "https://api.anthropic.com", "messages", True),
        (openai(), "https://api.openai.com/v1", "chat_completions", True),
        (copilot(), "https://api.individual.githubcopilot.com", "chat_completions", False),
    ],
)
def test_a_type_brings_its_address_its_words_and_whether_a_person_is_named(
    provider: Provider, base_url: str, errors: str, attributed: bool
) -> None:
    assert (provider.base_url, provider.errors.name, provider.attributed) == (base_url, errors, attributed)


def test_the_defaults_are_those_of_the_specification() -> None:
    provider = openai()

    assert (provider.upstream_user, dict(provider.send_actor_headers)) == ("id", {})
    assert (provider.allow_byok, provider.enabled, provider.ask_usage) == (True, True, True)
    assert (provider.connect_timeout, provider.first_byte_timeout) == (10.0, 120.0)
    assert (provider.blocking_first_byte_timeout, provider.stall_timeout) == (600.0, 600.0)


@pytest.mark.parametrize("name", ["openai", "openai-eu", "copilot-business", "a", "4-2-x"])
def test_a_name_of_lower_case_parts_is_taken(name: str) -> None:
    assert openai(name=name).name == name


@pytest.mark.parametrize("name", ["", "OpenAI", "a--b", "-a", "a-", "a_b", "a/b", "a b", "ä", "openai\n", "a.b"])
def test_any_other_name_is_refused_with_the_rule(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case letters, digits and single hyphens"):
        openai(name=name)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://api.example.com", "https://api.example.com"),
        ("https://api.example.com/", "https://api.example.com"),
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("http://127.0.0.1:9999/a/b//", "http://127.0.0.1:9999/a/b"),
        ("HTTPS://[::1]:8443/x", "https://[::1]:8443/x"),
    ],
)
def test_a_path_in_the_base_url_is_kept_and_a_slash_at_its_end_is_not(given: str, kept: str) -> None:
    assert openai(base_url=given).base_url == kept


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "printable ASCII"),
        ("api.example.com", "must be http://"),
        ("ftp://api.example.com", "must be http://"),
        ("https://", "must be http://"),
        ("https:///v1", "must be http://"),
        ("https://host:0/", "must be http://"),
        ("https://host:99999/", "is not a URL"),
        ("https://[::1/", "is not a URL"),
        ("https://user:hunter2@host/", "a user or a password"),
        ("https://host/?a=b", "a query or a fragment"),
        ("https://host/?", "a query or a fragment"),
        ("https://host/#x", "a query or a fragment"),
        ("https://host/a b", "printable ASCII"),
        ("https://host/\n", "printable ASCII"),
        ("https://höst/", "printable ASCII"),
        ("https://host\\x/", "printable ASCII"),
        ("https://host/a/../b", ". or .."),
    ],
)
def test_a_base_url_that_cannot_be_is_refused_and_not_shown(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"base_url of provider 'openai'") as refused:
        openai(base_url=url)

    assert why in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_key_is_a_secret_from_the_start_and_no_repr_shows_it() -> None:
    provider = anthropic(key=KEY)

    assert provider.key == Secret(KEY)
    assert anthropic(key=Secret(KEY)) == provider
    assert KEY not in repr(provider)
    assert "sk-a...efgh" in repr(provider)


@pytest.mark.parametrize("key", ["", " ", "sk-secret\n", "sk secret", "sk-sécret", "sk-\x00secret"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="key of provider 'anthropic'") as refused:
        anthropic(key=key)

    assert "sk-" not in str(refused.value)


def test_copilot_takes_neither_a_central_key_nor_a_ban_on_the_users_own() -> None:
    with pytest.raises(ValueError, match="no central key"):
        FACTORIES["copilot"](key="ghu_x")
    with pytest.raises(ValueError, match="allow_byok"):
        copilot(allow_byok=False)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"upstream_user": "name"}, "upstream_user"),
        ({"stall_timeout": 0}, "stall_timeout"),
        ({"connect_timeout": -1.0}, "connect_timeout"),
        ({"first_byte_timeout": float("inf")}, "first_byte_timeout"),
        ({"blocking_first_byte_timeout": float("nan")}, "blocking_first_byte_timeout"),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        FACTORIES["anthropic"](**settings)


@pytest.mark.parametrize(
    ("attribute", "header"),
    [
        ("id", ""),
        ("", "X-Who"),
        ("id", "X Who"),
        ("id", "X-Who:"),
        ("id", "X-Wör"),
        ("id", "Authorization"),
        ("id", "x_api_key"),
        ("id", "Cookie"),
        ("id", "Host"),
        ("id", "Content-Length"),
        ("id", "Transfer-Encoding"),
        ("id", "Connection"),
        ("id", "X-Forwarded-For"),
        ("id", "User-Agent"),
        ("id", "anthropic-version"),
    ],
)
def test_an_actor_header_may_not_take_a_name_that_means_something_else(attribute: str, header: str) -> None:
    with pytest.raises(ValueError, match="send_actor_headers"):
        openai(send_actor_headers={attribute: header})


def test_actor_headers_do_not_change_with_the_mapping_that_they_came_in() -> None:
    given = {"id": "X-AI-Bridge-Actor-ID"}
    provider = openai(send_actor_headers=given)
    given["email"] = "X-Mail"

    assert dict(provider.send_actor_headers) == {"id": "X-AI-Bridge-Actor-ID"}


@pytest.mark.parametrize("path", ["v1", "/v1/", "/v1//x", "/v1/*/x", "/v1/%41", "/V1", "/v1?x", "", "/*"])
def test_a_rule_with_a_path_that_is_no_template_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no path of a route"):
        RouteRule(path=path, methods=frozenset({"GET"}))


def test_a_rule_cannot_end_open_on_one_side_only() -> None:
    with pytest.raises(ValueError, match="is no path of a route"):
        RouteRule(path="/v1/models/*", upstream_path="/models", methods=frozenset({"GET"}))


def test_a_bridged_rule_is_one_exact_path() -> None:
    with pytest.raises(ValueError, match="one exact path"):
        RouteRule(path="/v1/messages/*", methods=frozenset({"POST"}), dialect=MESSAGES)


# -- keys, retries, the breaker ------------------------------------------------------------------------


def test_several_keys_are_taken_in_their_order_and_the_first_is_the_key() -> None:
    provider = openai(keys=["sk-one", Secret("sk-two")])

    assert [key.reveal() for key in provider.keys] == ["sk-one", "sk-two"]
    assert provider.key == provider.keys[0]
    assert openai().key is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keys": ["a", "b", "c", "d", "e", "f"]}, "at most 5"),
        ({"keys": ["a", "a"]}, "there twice"),
        ({"keys": ["a", "b c"]}, "printable ASCII"),
        ({"key": "a", "keys": ["b"]}, "not both"),
        ({"max_retries": 11}, "from 0 to 10"),
        ({"max_retries": -1}, "from 0 to 10"),
    ],
    ids=str,
)
def test_keys_and_retries_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        anthropic(**settings)


def test_copilot_takes_no_keys() -> None:
    with pytest.raises(ValueError, match="no central key"):
        copilot(keys=["ghu_1"])


@pytest.mark.parametrize(
    "settings", [{"keys": ["a", "b"]}, {"max_retries": 1}, {"circuit_breaker": BreakerSettings()}], ids=str
)
def test_only_a_provider_of_which_nothing_is_remembered_is_plain(settings: dict[str, Any]) -> None:
    assert anthropic(key="a").plain
    assert not anthropic(**settings).plain

"""Environment names of Coder's AI Bridge mean what they meant there, where the option exists."""

import pytest

from aibridge.server.config import Wrong, load

HOME = {"HOME": "/home/somebody"}


@pytest.mark.parametrize("prefix", ["CODER_AIBRIDGE_", "CODER_AI_GATEWAY_"])
def test_the_single_providers_and_their_addresses(prefix: str) -> None:
    environ = {
        **HOME,
        f"{prefix}ANTHROPIC_KEY": "sk-ant-1",
        f"{prefix}ANTHROPIC_BASE_URL": "https://anthropic.example",
        f"{prefix}OPENAI_KEY": "sk-1",
        "ANTHROPIC_API_KEY": "not-asked-for",
    }

    providers = load(None, environ).settings.providers

    assert [(p.instance, p.keys, p.base_url) for p in providers] == [
        ("anthropic", ["sk-ant-1"], "https://anthropic.example"),
        ("openai", ["sk-1"], None),
    ]


def test_indexed_providers_keep_their_order() -> None:
    environ = {
        **HOME,
        "CODER_AIBRIDGE_PROVIDER_10_TYPE": "copilot",
        "CODER_AIBRIDGE_PROVIDER_2_TYPE": "openai",
        "CODER_AIBRIDGE_PROVIDER_2_NAME": "openai-eu",
        "CODER_AIBRIDGE_PROVIDER_2_KEYS": "sk-1, sk-2",
        "CODER_AIBRIDGE_PROVIDER_2_BASE_URL": "https://eu.example/v1",
        "CODER_AI_GATEWAY_PROVIDER_0_TYPE": "anthropic",
        "CODER_AI_GATEWAY_PROVIDER_0_KEY": "sk-ant",
    }

    providers = load(None, environ).settings.providers

    assert [(p.instance, p.keys, p.base_url) for p in providers] == [
        ("anthropic", ["sk-ant"], None),
        ("openai-eu", ["sk-1", "sk-2"], "https://eu.example/v1"),
        ("copilot", [], None),
    ]


def test_an_indexed_provider_without_a_type_is_refused() -> None:
    with pytest.raises(Wrong, match=r"CODER_AIBRIDGE_PROVIDER_0_KEY: providers\[0\]\.type: is required"):
        load(None, {**HOME, "CODER_AIBRIDGE_PROVIDER_0_KEY": "sk"})


@pytest.mark.parametrize(
    ("variable", "value", "setting", "holds"),
    [
        ("RETENTION", "30d", ("database", "retention"), 2_592_000.0),
        ("MAX_CONCURRENCY", "7", ("server", "max_concurrency"), 7),
    ],
)
def test_settings_of_the_whole(variable: str, value: str, setting: tuple[str, str], holds: object) -> None:
    settings = load(None, {**HOME, f"CODER_AIBRIDGE_{variable}": value}).settings

    assert getattr(getattr(settings, setting[0]), setting[1]) == holds


def test_settings_of_every_provider_reach_those_that_say_nothing_themselves() -> None:
    environ = {
        **HOME,
        "CODER_AIBRIDGE_ANTHROPIC_KEY": "sk-ant",
        "CODER_AIBRIDGE_OPENAI_KEY": "sk",
        "CODER_AIBRIDGE_ALLOW_BYOK": "false",
        "CODER_AIBRIDGE_SEND_ACTOR_HEADERS": "true",
        "CODER_AIBRIDGE_CIRCUIT_BREAKER_ENABLED": "true",
        "CODER_AIBRIDGE_CIRCUIT_BREAKER_FAILURE_THRESHOLD": "9",
        "AIBRIDGE_PROVIDERS__1__ALLOW_BYOK": "true",
    }

    one, two = load(None, environ).settings.providers

    assert (one.allow_byok, two.allow_byok) == (False, True)
    assert one.send_actor_headers["id"] == "X-AI-Bridge-Actor-ID"
    assert one.circuit_breaker is not None
    assert (one.circuit_breaker.enabled, one.circuit_breaker.failure_threshold) == (True, 9)


def test_mcp_servers_of_external_authentication() -> None:
    environ = {
        **HOME,
        "CODER_EXTERNAL_AUTH_0_ID": "Primary_GitHub",
        "CODER_EXTERNAL_AUTH_0_MCP_URL": "https://mcp.example/",
        "CODER_EXTERNAL_AUTH_0_MCP_TOOL_ALLOW_REGEX": ".+_gist.*",
        "CODER_EXTERNAL_AUTH_1_ID": "without-mcp",
        "CODER_EXTERNAL_AUTH_3_MCP_URL": "https://other.example/",
        "CODER_EXTERNAL_AUTH_3_MCP_TOOL_DENY_REGEX": "create_gist",
    }

    servers = load(None, environ).settings.mcp_servers

    assert [(s.name, s.url, s.allow_tools, s.deny_tools) for s in servers] == [
        ("primary-github", "https://mcp.example/", ".+_gist.*", None),
        ("external-auth-3", "https://other.example/", None, "create_gist"),
    ]


def test_what_is_not_built_is_said_and_what_is_unknown_is_left_alone() -> None:
    environ = {**HOME, "CODER_AIBRIDGE_RATE_LIMIT": "5", "CODER_AIBRIDGE_ENABLED": "true", "CODER_URL": "x"}

    assert load(None, environ).warnings == ("CODER_AIBRIDGE_RATE_LIMIT is not built yet and has no effect",)

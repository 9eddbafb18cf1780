"""Keys, retries and the breaker out of the configuration."""

from pathlib import Path

import pytest

from aibridge.breaker import BreakerSettings
from aibridge.providers import Provider
from aibridge.server.config import Wrong, load
from aibridge.server.configured_providers import configured_providers


def configured(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> list[Provider]:
    file = tmp_path / "aibridge.toml"
    file.write_text(text)
    return configured_providers(load(file, environ or {}), environ or {})


def test_all_keys_are_taken_in_their_order_wherever_they_lie(tmp_path: Path) -> None:
    (tmp_path / "second.key").write_text("sk-second\n")
    text = '[[providers]]\ntype = "openai"\nkeys = ["env:FIRST", "file:second.key", "sk-third"]\nmax_retries = 2\n'
    [provider] = configured(tmp_path, text, {"FIRST": "sk-first"})

    assert [key.reveal() for key in provider.keys] == ["sk-first", "sk-second", "sk-third"]
    assert provider.max_retries == 2


def test_the_breaker_is_off_unless_it_is_switched_on(tmp_path: Path) -> None:
    text = """
        [[providers]]
        type = "openai"
        [[providers]]
        type = "anthropic"
        [providers.circuit_breaker]
        timeout = "1m"
        [[providers]]
        type = "copilot"
        [providers.circuit_breaker]
        enabled = true
        failure_threshold = 3
        interval = "0s"
        timeout = "1m"
        max_requests = 1
    """
    without, off, on = configured(tmp_path, text)

    assert without.circuit_breaker is off.circuit_breaker is None
    assert on.circuit_breaker == BreakerSettings(failure_threshold=3, interval=0.0, timeout=60.0, max_requests=1)


def test_the_settings_of_another_gateway_switch_it_on_for_all(tmp_path: Path) -> None:
    environ = {
        "CODER_AIBRIDGE_CIRCUIT_BREAKER_ENABLED": "true",
        "CODER_AIBRIDGE_CIRCUIT_BREAKER_FAILURE_THRESHOLD": "7",
        "CODER_AIBRIDGE_CIRCUIT_BREAKER_TIMEOUT": "10s",
    }
    [provider] = configured(tmp_path, '[[providers]]\ntype = "openai"\n', environ)

    assert provider.circuit_breaker == BreakerSettings(failure_threshold=7, timeout=10.0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('keys = ["a", "b", "c", "d", "e", "f"]', r"providers\[0\].keys: must be at most 5 items"),
        ('keys = ["sk-a", "sk-a"]', "keys of provider 'openai': one is there twice"),
        ('keys = ["env:A", "env:B"]', r"providers\[0\].keys: the environment variable B is not set"),
        ("max_retries = 11", r"providers\[0\].max_retries: must be less than or equal to 10"),
        (
            '[providers.circuit_breaker]\ntimeout = "0s"',
            r"providers\[0\].circuit_breaker.timeout: must be greater than 0",
        ),
    ],
)
def test_what_cannot_be_stops_the_start_without_showing_a_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(Wrong, match=told) as raised:
        configured(tmp_path, f'[[providers]]\ntype = "openai"\n{text}\n', {"A": "sk-of-a"})

    assert "sk-" not in str(raised.value)


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        ('fallback = "nobody"', "", "there is no provider of this name"),
        ('fallback = "openai"', "", "must be another provider"),
        ('fallback = "spare"', 'fallback = "openai"', "must have no fallback of its own"),
        ('fallback = "spare"\noffer_tools = false', "", "must have the same offer_tools"),
        ('fallback = "spare"', "keys = []", "both must have keys"),
        ('fallback = "other"', "", "must be of type openai"),
    ],
)
def test_a_fallback_that_cannot_be_stops_the_start_with_its_place(
    tmp_path: Path, first: str, second: str, why: str
) -> None:
    keys = "" if "keys" in second else 'keys = ["sk-second"]'
    text = f"""
        [[providers]]
        type = "openai"
        keys = ["sk-first"]
        {first}
        [[providers]]
        type = "openai"
        name = "spare"
        {keys}
        {second}
        [[providers]]
        type = "anthropic"
        name = "other"
        keys = ["sk-third"]
    """
    with pytest.raises(Wrong, match=rf"providers\[0\]\.fallback.*{why}"):
        configured(tmp_path, text)


def test_a_fallback_is_the_provider_of_that_name(tmp_path: Path) -> None:
    text = """
        [[providers]]
        type = "openai"
        keys = ["sk-first"]
        fallback = "spare"
        [[providers]]
        type = "openai"
        name = "spare"
        keys = ["sk-second"]
    """
    first, spare = configured(tmp_path, text)

    assert first.fallback_among({"spare": spare}) is spare
    assert spare.fallback_among({first.name: first}) is None

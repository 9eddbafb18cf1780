"""Providers on Bedrock out of the configuration: what is missing is named, and AWS's own variables are enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibridge.providers import Provider
from aibridge.server.config import Wrong, load
from aibridge.server.configured_providers import configured_providers

HOME = {"HOME": "/home/somebody"}
KEYS = 'access_key = "AKIAIOSFODNN7EXAMPLE"\nsecret_key = "env:THE_SECRET"\n'
MODELS = 'model = "big"\nsmall_fast_model = "small"\n'


@pytest.fixture
def no_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Botocore looks into the real environment: nothing of AWS's is there."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def configured(folder: Path, table: str, *, more: str = "", **environ: str) -> Provider:
    file = folder / "aibridge.toml"
    file.write_text(f'[[providers]]\ntype = "anthropic"\n{more}[providers.bedrock]\n{table}')
    environ = {**HOME, "THE_SECRET": "wJalrXUtnFEMI", **environ}
    (provider,) = configured_providers(load(file, environ), environ)
    return provider


def test_a_whole_table_is_a_provider(tmp_path: Path) -> None:
    table = 'region = "eu-west-1"\nmodels = { opus = "eu.opus" }\npartner_id = "APN_1.1%2Fpc_x%24"\n' + KEYS + MODELS
    provider = configured(tmp_path, table)

    assert (provider.type, provider.name, provider.allow_byok) == ("anthropic", "anthropic", False)
    assert provider.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
    assert [provider.model_of(name) for name in ("opus", "sonnet", "haiku")] == ["eu.opus", "big", "small"]
    assert provider.secrets == ("wJalrXUtnFEMI",)
    assert provider.platform is not None
    assert provider.platform.credentials.hint == "AKIA...MPLE"
    assert "wJalrXUtnFEMI" not in repr(provider)


@pytest.mark.parametrize(
    ("table", "environ", "url"),
    [
        ('base_url = "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com"', {}, "us-gov-west-1"),
        ("", {"AWS_REGION": "ap-south-1", "AWS_DEFAULT_REGION": "us-east-2"}, "ap-south-1"),
        ("", {"AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2"),
        ('region = "eu-north-1"', {"AWS_REGION": "ap-south-1"}, "eu-north-1"),
    ],
)
def test_the_region_is_found_where_it_is_said(tmp_path: Path, table: str, environ: dict[str, str], url: str) -> None:
    assert url in configured(tmp_path, f"{table}\n{KEYS}{MODELS}", **environ).base_url


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (KEYS + MODELS, "region is missing, and so is AWS_REGION in the environment"),
        ('region = "moon"\n' + KEYS + MODELS, "region of provider 'anthropic': an AWS region such as us-east-1"),
        ('region = "us-east-1"\n' + KEYS, "model is missing; set model and small_fast_model, or the table models"),
        ('region = "us-east-1"\nmodel = "a"\n' + KEYS, "small_fast_model of provider 'anthropic': is missing beside"),
        ('region = "us-east-1"\naccess_key = "a"\n' + MODELS, "secret_key is missing beside access_key"),
        ('region = "us-east-1"\nsecret_key = "a"\n' + MODELS, "access_key is missing beside secret_key"),
        ('region = "us-east-1"\nexternal_id = "a"\n' + KEYS + MODELS, "role_arn is missing beside external_id"),
        ('region = "us-east-1"\n' + MODELS, "access_key is missing: no AWS credentials were found in"),
        ('region = "us-east-1"\n' + KEYS.replace("THE_", "NO_") + MODELS, "the environment variable NO_SECRET is not"),
    ],
)
def test_what_is_missing_is_named(no_aws: None, tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(Wrong) as raised:
        configured(tmp_path, table)

    assert str(raised.value).startswith(f"{tmp_path}/aibridge.toml: providers[0].bedrock: {said}")


def test_what_is_switched_off_may_lack_its_credentials(no_aws: None, tmp_path: Path) -> None:
    off = configured(
        tmp_path, 'region = "us-east-1"\nsecret_key = "env:NOT_THERE"\n' + MODELS, more="enabled = false\n"
    )

    assert off.enabled is False


def test_awss_own_variables_make_a_provider_beside_the_others(no_aws: None) -> None:
    environ = {**HOME, "AWS_REGION": "us-east-1", "AWS_PROFILE": "work", "AWS_SDK_UA_APP_ID": "shop"}
    configuration = load(None, environ)
    *_, provider = configured_providers(configuration, environ)

    assert [table.instance for table in configuration.settings.providers][-1] == "bedrock"
    assert configuration.sources["providers", 3, "bedrock", "region"] == "AWS_REGION"
    assert (provider.name, provider.model_of("us.anthropic.claude-x")) == ("bedrock", "us.anthropic.claude-x")


@pytest.mark.parametrize(
    "environ",
    [
        {"AWS_REGION": "us-east-1"},
        {"AWS_PROFILE": "work"},
        {"AWS_REGION": "local", "AWS_PROFILE": "work"},
    ],
)
def test_half_of_awss_variables_make_none(environ: dict[str, str]) -> None:
    tables = load(None, {**HOME, **environ}).settings.providers

    assert [table.instance for table in tables] == ["anthropic", "openai", "copilot"]


def test_the_names_of_coders_gateway_make_one() -> None:
    environ = {
        **HOME,
        "CODER_AIBRIDGE_BEDROCK_REGION": "us-west-2",
        "CODER_AIBRIDGE_BEDROCK_ACCESS_KEY": "AKIAIOSFODNN7EXAMPLE",
        "CODER_AIBRIDGE_BEDROCK_ACCESS_KEY_SECRET": "wJalrXUtnFEMI",
        "CODER_AIBRIDGE_BEDROCK_MODEL": "big",
        "CODER_AIBRIDGE_BEDROCK_SMALL_FASTMODEL": "small",
    }
    (provider,) = configured_providers(load(None, environ), environ)

    assert provider.base_url == "https://bedrock-runtime.us-west-2.amazonaws.com"
    assert provider.model_of("claude-haiku") == "small"

"""Providers on Vertex AI out of the configuration: what is missing is named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aibridge.ports import UpstreamRequest
from aibridge.providers import Provider
from aibridge.server.config import Wrong, load
from aibridge.server.configured_providers import configured_providers
from tests.fakes.google import PROJECT, fake_google

HOME = {"HOME": "/home/somebody"}


@pytest.fixture
def key_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A key of a service account; of what is on this machine nothing is found."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("GCE_METADATA_DETECT_RETRIES", "1")

    async def written() -> str:
        async with fake_google() as google:
            return google.key_file(tmp_path)

    return asyncio.run(written())


def configured(folder: Path, table: str, *, more: str = "", **environ: str) -> Provider:
    file = folder / "aibridge.toml"
    file.write_text(f'[[providers]]\ntype = "anthropic"\nname = "google"\n{more}[providers.vertex]\n{table}')
    environ = {**HOME, **environ}
    (provider,) = configured_providers(load(file, environ), environ)
    return provider


FILE = 'credentials_file = "key.json"\n'


def test_a_whole_table_is_a_provider(key_file: str, tmp_path: Path) -> None:
    table = 'project = "engines"\nregion = "eu"\nmodels = { opus = "claude-opus-4-8" }\n' + FILE
    provider = configured(tmp_path, table)

    assert (provider.type, provider.name, provider.allow_byok) == ("anthropic", "google", False)
    assert provider.base_url == "https://aiplatform.eu.rep.googleapis.com/v1"
    assert provider.model_of("opus") == "claude-opus-4-8"


@pytest.mark.parametrize(
    ("table", "environ", "project"),
    [
        ('project = "mine"\nregion = "eu"\n', {"GOOGLE_CLOUD_PROJECT": "other"}, "mine"),
        ("", {"GOOGLE_CLOUD_PROJECT": "other", "CLOUD_ML_REGION": "eu"}, "other"),
        ("", {"ANTHROPIC_VERTEX_PROJECT_ID": "a", "GOOGLE_CLOUD_PROJECT": "b", "CLOUD_ML_REGION": "eu"}, "a"),
        ('region = "eu"\n', {}, PROJECT),
    ],
)
def test_the_project_is_found_where_it_is_said(
    key_file: str, tmp_path: Path, table: str, environ: dict[str, str], project: str
) -> None:
    provider = configured(tmp_path, table + FILE, **environ)

    assert provider.platform is not None
    asked = provider.platform.outgoing(UpstreamRequest("POST", "", [], b'{"model":"claude-a"}'), "/v1/messages")
    assert f"/projects/{project}/locations/eu/" in asked.url


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('project = "a"\n' + FILE, "region is missing, and so is CLOUD_ML_REGION in the environment"),
        ('region = "eu"\nproject = "a/b"\n' + FILE, "project of provider 'google': the id of a Google Cloud project"),
        ('region = "e u"\n' + FILE, "region of provider 'google': a region such as us-east5"),
        ('credentials_file = "none.json"\n', "credentials_file is missing or wrong: Google credentials cannot be had"),
        ('region = "eu"\n', "credentials_file is missing or wrong: no Google credentials were found"),
    ],
)
def test_what_is_missing_is_named(key_file: str, tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(Wrong) as raised:
        configured(tmp_path, table)

    assert str(raised.value).startswith(f"{tmp_path}/aibridge.toml: providers[0].vertex: {said}")


def test_what_is_switched_off_may_lack_its_credentials(key_file: str, tmp_path: Path) -> None:
    table = 'project = "a"\nregion = "eu"\ncredentials_file = "none.json"\n'

    assert configured(tmp_path, table, more="enabled = false\n").enabled is False


def test_one_provider_is_on_one_platform(key_file: str, tmp_path: Path) -> None:
    with pytest.raises(Wrong, match=r"providers\[0\]\.vertex: must not be set beside bedrock; write a second provider"):
        configured(tmp_path, "", more="bedrock = {}\n")

"""Access tokens of Google Cloud: whose they are, and when they are renewed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aibridge.errors import UpstreamUnreachable
from aibridge.google_cloud import GoogleCredentials
from aibridge.ports import UpstreamRequest
from tests.fakes.google import EMAIL, PROJECT, FakeGoogle, fake_google
from tests.waiting import until

pytestmark = pytest.mark.anyio

ASKING = UpstreamRequest("POST", "http://vertex.test/", [], b"{}")


@pytest.fixture
async def google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[FakeGoogle]:
    """Google on loopback, and an environment without credentials of this machine's."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:9")  # nobody is there
    monkeypatch.setenv("GCE_METADATA_DETECT_RETRIES", "1")
    async with fake_google() as google:
        yield google


async def token_of(source: GoogleCredentials) -> str:
    ((name, value),) = (await source.proof(ASKING)).headers
    assert name == b"authorization"
    return value.decode().removeprefix("Bearer ")


async def test_a_key_file_is_exchanged_for_a_token_once(google: FakeGoogle, tmp_path: Path) -> None:
    source = GoogleCredentials(file=google.key_file(tmp_path))
    assert source.hint == "..."
    assert source.find() == PROJECT
    tokens = {await token_of(source) for _ in range(3)}
    proof = await source.proof(ASKING)

    assert tokens == {"ya29.token-1-of-engines"}
    assert [asserted["iss"] for asserted in google.assertions] == [EMAIL]
    assert google.assertions[0]["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert source.hint == proof.hint == "gate....com"
    assert proof.secrets == ("ya29.token-1-of-engines",)
    assert "ya29" not in repr(proof) + repr(source)


async def test_googles_own_search_finds_the_file_too(
    google: FakeGoogle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", google.key_file(tmp_path))

    assert await token_of(GoogleCredentials()) == google.token


async def test_many_that_wait_cost_one_exchange(google: FakeGoogle, tmp_path: Path) -> None:
    google.gate = asyncio.Event()
    source = GoogleCredentials(file=google.key_file(tmp_path))
    waiting = [asyncio.create_task(token_of(source)) for _ in range(5)]
    gone = asyncio.create_task(token_of(source))
    await until(lambda: bool(google.assertions), 20)
    gone.cancel()
    google.gate.set()

    assert set(await asyncio.gather(*waiting)) == {google.token}
    assert len(google.assertions) == 1


async def test_a_token_about_to_end_is_renewed_while_the_old_one_serves(google: FakeGoogle, tmp_path: Path) -> None:
    google.lasts = 120  # seconds; google-auth renews below 225
    source = GoogleCredentials(file=google.key_file(tmp_path))
    first = await token_of(source)
    google.gate, google.lasts = asyncio.Event(), 3600

    assert await token_of(source) == first
    google.gate.set()
    await until(lambda: source._renewal.value != first, 20)
    assert await token_of(source) == google.token != first


async def test_a_token_that_has_ended_is_waited_for(google: FakeGoogle, tmp_path: Path) -> None:
    google.lasts = 0
    source = GoogleCredentials(file=google.key_file(tmp_path))

    assert [await token_of(source) for _ in range(2)] == ["ya29.token-1-of-engines", "ya29.token-2-of-engines"]


async def test_a_refusal_is_no_providers_answer(
    google: FakeGoogle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    google.refuses = True
    source = GoogleCredentials(file=google.key_file(tmp_path))

    with pytest.raises(UpstreamUnreachable, match=r"^Google credentials cannot be had \(RefreshError\)$"):
        await source.proof(ASKING)
    assert "PRIVATE KEY" not in caplog.text
    google.refuses = False
    assert await token_of(source) == google.token


async def test_nothing_found_says_so(google: FakeGoogle, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="no Google credentials were found"):
        GoogleCredentials().find()
    with pytest.raises(LookupError, match=r"Google credentials cannot be had \(FileNotFoundError\)"):
        GoogleCredentials(file=str(tmp_path / "nowhere.json")).find()
    with pytest.raises(UpstreamUnreachable, match="no Google credentials were found"):
        await GoogleCredentials().proof(ASKING)

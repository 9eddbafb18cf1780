"""AWS credentials: where they come from, when they are renewed, and that AWS would take the signature."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aibridge.aws import AwsCredentials
from aibridge.credentials import Secret
from aibridge.errors import UpstreamUnreachable
from aibridge.ports import Proof, UpstreamRequest
from tests.fakes.aws import ACCESS_KEY, REGION, SECRET_KEY, FakeAws, fake_aws
from tests.fakes.cloud_http import Asked as AskedOfAws
from tests.waiting import until

pytestmark = pytest.mark.anyio

TOKEN = "FwoGZXIvYXdzEXAMPLETOKEN//////////"
ROLE = "arn:aws:iam::123456789012:role/Claude"


@pytest.fixture
async def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[FakeAws]:
    """AWS on loopback, and an environment without credentials of this machine's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    async with fake_aws() as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", aws.url)
        yield aws


def static(**more: str | Secret | None) -> AwsCredentials:
    given: dict[str, object] = {"access_key": ACCESS_KEY, "secret_key": Secret(SECRET_KEY), "region": REGION, **more}
    return AwsCredentials(**given)  # type: ignore[arg-type]  # a test hands in what it likes


def asking(path: str = "/model/a/invoke", body: bytes = b"{}") -> UpstreamRequest:
    headers = [(b"user-agent", b"x/1"), (b"Content-Type", b"application/json"), (b"accept", b"*/*")]
    return UpstreamRequest("POST", f"http://aws.test{path}", headers, body)


def as_it_comes(request: UpstreamRequest, proof: Proof, body: bytes | None = None) -> AskedOfAws:
    """The request as AWS has it, checked by botocore."""
    pairs = [(b"Host", b"aws.test"), *request.headers, *proof.headers]
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in pairs}
    target = request.url.removeprefix("http://aws.test")
    asked = AskedOfAws("POST", target, headers, request.body if body is None else body)
    aws = FakeAws("http://aws.test")
    aws.keys["ASIATEMPORARY0000000"] = Credentials("ASIATEMPORARY0000000", SECRET_KEY, TOKEN)
    return aws._checked(asked)


# -- signatures ----------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="ascii", exclude_characters="\x00/?#%"), min_size=1).map(str.strip), st.binary())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_aws_takes_the_signature(part: str, body: bytes) -> None:
    request = asking(f"/model/{quote(part, safe=':')}/invoke", body)
    proof = asyncio.run(static().proof(request))

    asked = as_it_comes(request, proof)
    assert asked.valid
    assert asked.signed == {"host", "content-type", "x-amz-date"}
    assert asked.access_key == ACCESS_KEY
    assert not as_it_comes(request, proof, body + b" ").valid


def test_an_arn_in_the_path_is_signed_as_aws_reads_it() -> None:
    request = asking("/model/arn:aws:bedrock:us-west-2:1:inference-profile%2Fus.anthropic.claude-v1:0/invoke")

    assert as_it_comes(request, asyncio.run(static().proof(request))).valid


async def test_a_large_body_is_signed_too() -> None:
    request = asking(body=b"x" * 1_000_000)

    assert as_it_comes(request, await static().proof(request)).valid


async def test_a_session_token_goes_along_and_is_signed() -> None:
    source = static(access_key="ASIATEMPORARY0000000", session_token=Secret(TOKEN))
    request = asking()
    proof = await source.proof(request)

    asked = as_it_comes(request, proof)
    assert asked.valid
    assert asked.headers["x-amz-security-token"] == TOKEN
    assert proof.secrets == (SECRET_KEY, TOKEN)
    assert source.hint == proof.hint == "ASIA...0000"


async def test_no_secret_shows_itself() -> None:
    source = static()
    proof = await source.proof(asking())

    for shown in (repr(source), repr(proof), str(proof), *(value.decode() for _, value in proof.headers)):
        assert SECRET_KEY not in shown


# -- where credentials come from -----------------------------------------------------------------------


async def test_the_chain_reads_the_environment(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    source = AwsCredentials(region=REGION)
    assert source.hint == "..."
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    request = asking()

    assert as_it_comes(request, await source.proof(request)).valid
    assert source.hint == "AKIA...MPLE"


async def test_the_chain_reads_the_shared_file(aws: FakeAws, tmp_path: Path) -> None:
    text = f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"
    (tmp_path / "credentials").write_text(text)
    source = AwsCredentials(region=REGION)
    source.find()
    request = asking()

    assert as_it_comes(request, await source.proof(request)).valid


async def test_a_chain_without_credentials_says_so(aws: FakeAws, caplog: pytest.LogCaptureFixture) -> None:
    source = AwsCredentials(region=REGION)

    with pytest.raises(LookupError, match="no AWS credentials were found"):
        source.find()
    with pytest.raises(UpstreamUnreachable, match="no AWS credentials were found"):
        await source.proof(asking())
    assert [record.getMessage() for record in caplog.records if record.name == "aibridge"] == ["no AWS credentials"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"access_key": "a"}, "secret_key is missing beside access_key"),
        ({"secret_key": Secret("a")}, "access_key is missing beside secret_key"),
        ({"session_token": Secret("a")}, "access_key is missing beside session_token"),
        ({"external_id": "a"}, "role_arn is missing beside external_id"),
    ],
)
def test_half_a_credential_is_refused(given: dict[str, str | Secret], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AwsCredentials(region=REGION, **given)  # type: ignore[arg-type]  # a test hands in what it likes


# -- roles ---------------------------------------------------------------------------------------------


async def test_a_role_is_asked_for_once_however_many_wait(aws: FakeAws) -> None:
    aws.gate = asyncio.Event()
    source = static(role_arn=ROLE, external_id="engines-42")
    request = asking()
    waiting = [asyncio.create_task(source.proof(request)) for _ in range(5)]
    gone = asyncio.create_task(source.proof(request))
    await until(lambda: bool(aws.roles), 20)
    gone.cancel()
    aws.gate.set()
    proofs = await asyncio.gather(*waiting)

    assert len(aws.roles) == 1
    assert {proof.hint for proof in proofs} == {"ASIA...0001"}
    asked = aws.role_asked(0)
    assert (asked["RoleArn"], asked["ExternalId"], asked["RoleSessionName"]) == (ROLE, "engines-42", "aibridge")
    assert f"Credential={ACCESS_KEY}/" in aws.roles[0].headers["authorization"]
    assert dict(proofs[0].headers)[b"x-amz-security-token"] == b"token-of-role-1"
    assert source.hint == "ASIA...0001"


async def test_a_role_that_holds_is_not_asked_for_again(aws: FakeAws) -> None:
    source = static(role_arn=ROLE)
    for _ in range(3):
        await source.proof(asking())

    assert len(aws.roles) == 1


async def test_a_role_about_to_end_is_renewed_while_the_old_one_serves(aws: FakeAws) -> None:
    aws.role_lasts = timedelta(minutes=5)
    source = static(role_arn=ROLE)
    first = await source.proof(asking())
    aws.gate = asyncio.Event()
    aws.role_lasts = timedelta(hours=1)

    assert (await source.proof(asking())).hint == first.hint == "ASIA...0001"
    aws.gate.set()
    await until(lambda: source.hint == "ASIA...0002", 20)
    assert len(aws.roles) == 2
    assert (await source.proof(asking())).hint == "ASIA...0002"


async def test_a_role_that_has_ended_is_waited_for(aws: FakeAws) -> None:
    aws.role_lasts = timedelta(seconds=30)
    source = static(role_arn=ROLE)
    hints = [(await source.proof(asking())).hint for _ in range(2)]

    assert hints == ["ASIA...0001", "ASIA...0002"]


async def test_a_role_that_is_refused_is_no_providers_answer_and_may_be_given_later(
    aws: FakeAws, caplog: pytest.LogCaptureFixture
) -> None:
    aws.role_refused = True
    source = static(role_arn=ROLE)

    with pytest.raises(UpstreamUnreachable, match=r"^AWS gave no credentials \(AccessDenied\)$"):
        await source.proof(asking())
    aws.role_refused = False
    assert (await source.proof(asking())).hint.startswith("ASIA...")
    assert SECRET_KEY not in caplog.text

"""The issuer's keys: known in time, asked for no more often than that, and what holds while it does not answer."""

import asyncio
import logging
from collections.abc import AsyncIterator

import msgspec
import pytest

from aibridge.server.auth.oidc.issuer import AGAIN, STALE, Issuer, IssuerUnavailable
from aibridge.server.auth.oidc.rules import OidcRules
from tests.durable import BOUND, SetClock, until
from tests.fakes.oidc import OidcIssuer, serving_oidc, signing_key

pytestmark = pytest.mark.anyio


@pytest.fixture
async def provider() -> AsyncIterator[OidcIssuer]:
    async with serving_oidc() as provider:
        yield provider


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
async def issuer(provider: OidcIssuer, clock: SetClock) -> AsyncIterator[Issuer]:
    rules = OidcRules(issuer=provider.url, audiences=("aibridge",), allow_private=True)
    async with Issuer(rules, clock) as issuer:
        yield issuer


async def why_not(issuer: Issuer, kid: str | None = "key-1") -> IssuerUnavailable:
    with pytest.raises(IssuerUnavailable) as raised:
        await issuer.key(kid, "ES256")
    return raised.value


async def test_a_server_that_ends_does_not_wait_for_an_issuer_that_does_not_answer(provider: OidcIssuer) -> None:
    provider.open.clear()
    rules = OidcRules(issuer=provider.url, audiences=("aibridge",), allow_private=True)
    async with asyncio.timeout(BOUND / 4):
        async with Issuer(rules, SetClock()) as issuer:
            waiting = asyncio.create_task(issuer.keep_fresh(float))
            await until(lambda: provider.asked["configuration"] == 1)
        waiting.cancel()
        await asyncio.wait([waiting])
    provider.open.set()

    assert waiting.cancelled()


async def test_many_who_need_a_key_at_once_have_the_issuer_asked_once(issuer: Issuer, provider: OidcIssuer) -> None:
    keys = await asyncio.gather(*(issuer.key("key-1", "ES256") for _ in range(50)))

    assert all(key is not None and issuer.trusts(key) for key in keys)
    assert provider.asked == {"configuration": 1, "keys": 1}


async def test_its_metadata_says_where_tokens_are_given(issuer: Issuer, provider: OidcIssuer) -> None:
    before = await issuer.metadata()
    assert await issuer.key("key-1", "ES256")

    assert (await issuer.metadata()) == before
    assert before.token_endpoint == f"{provider.url}/token"


async def test_a_new_key_is_known_with_the_first_token_that_names_it_and_the_old_one_is_not_trusted_any_more(
    issuer: Issuer, provider: OidcIssuer
) -> None:
    old = await issuer.key("key-1", "ES256")
    assert old is not None
    issuer._asked_at = None  # what came before is long ago
    provider.rotate("key-2")
    new = await issuer.key("key-2", "ES256")

    assert new is not None
    assert issuer.trusts(new)
    assert not issuer.trusts(old)


async def test_a_flood_of_unknown_names_has_the_issuer_asked_once_in_a_while(
    issuer: Issuer, provider: OidcIssuer, clock: SetClock
) -> None:
    assert await issuer.key("key-1", "ES256") is not None
    waits = []
    for second in range(21):
        for number in range(20):
            try:
                assert await issuer.key(f"made-up-{second}-{number}", "ES256") is None
            except IssuerUnavailable as error:
                waits.append(error.retry_after)
        clock.advance(1)

    assert provider.asked["keys"] <= 1 + 21 / AGAIN + 1
    assert len(waits) > 400
    assert all(1 <= wait <= AGAIN for wait in waits)
    assert len(issuer._unknown) <= 256


async def test_who_was_told_that_a_name_is_unknown_is_told_the_same_again(issuer: Issuer, clock: SetClock) -> None:
    assert await issuer.key("key-1", "ES256") is not None
    clock.advance(AGAIN)

    assert await issuer.key("made-up", "ES256") is None
    assert await issuer.key("made-up", "ES256") is None
    assert "a moment ago" in str(await why_not(issuer, "made-up-too"))


async def test_keys_that_are_known_hold_for_a_day_while_the_issuer_is_down(
    issuer: Issuer, provider: OidcIssuer, clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    key = await issuer.key("key-1", "ES256")
    assert key is not None
    provider.is_down = True
    clock.advance(STALE / 2)
    await issuer._fetched()
    await issuer._fetched()

    assert await issuer.key("key-1", "ES256") == key
    assert issuer.trusts(key)
    assert (await why_not(issuer, "key-2")).retry_after >= 1
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "the identity provider's keys cannot be fetched"
    ]

    clock.advance(STALE / 2)
    assert not issuer.trusts(key)
    assert issuer.why_unusable is not None
    assert "503" in str(await why_not(issuer))

    provider.is_down = False
    clock.advance(AGAIN)
    assert await issuer.key("key-1", "ES256") is not None
    assert issuer.why_unusable is None


async def test_an_issuer_that_takes_back_all_its_keys_has_none_from_then_on(
    issuer: Issuer, provider: OidcIssuer, clock: SetClock
) -> None:
    key = await issuer.key("key-1", "ES256")
    assert key is not None
    provider.body = b'{"keys":[]}'
    await issuer._fetched()

    assert not issuer.trusts(key)
    assert "none that signatures can be verified with" in str(issuer.why_unusable)
    assert (await why_not(issuer)).retry_after >= 1  # its token may be good again, and is not called a bad one

    provider.body = None
    clock.advance(AGAIN)
    assert await issuer.key("key-1", "ES256") == key
    assert issuer.trusts(key)


async def test_an_issuer_that_was_never_reached_says_so_and_is_asked_again(
    issuer: Issuer, provider: OidcIssuer, clock: SetClock
) -> None:
    provider.is_down = True
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)
        provider.is_down = len(slept) < 3
        if len(slept) == 5:
            raise asyncio.CancelledError

    assert issuer.why_unusable == "the identity provider was not asked yet"
    with pytest.raises(asyncio.CancelledError):
        await issuer.keep_fresh(iter([0.0, 0.0, 0.0, 0.0, 1.0]).__next__, sleep)

    assert slept == [1.0, 2.0, 5.0, 300.0, 210.0]  # others that began with it look at another time
    assert issuer.why_unusable is None


async def test_nobody_waits_for_long_for_an_issuer_that_does_not_answer(
    issuer: Issuer, provider: OidcIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibridge.server.auth.oidc.issuer._PATIENCE", 0.05)
    provider.open.clear()

    assert "has not answered yet" in str(await why_not(issuer))

    provider.open.set()
    await issuer._fetched()
    assert await issuer.key("key-1", "ES256") is not None


@pytest.mark.parametrize(
    ("metadata", "body", "why"),
    [
        ({"issuer": "https://other.example"}, None, "that of the issuer 'https://other.example'"),
        ({"issuer": None}, None, "its configuration cannot be read"),
        ({"jwks_uri": "ftp://keys"}, None, "the jwks_uri in its configuration must be an https:// URL"),
        ({"jwks_uri": "http://169.254.169.254/keys"}, None, "link-local"),
        ({"jwks_uri": "http://192.0.2.1:1x/"}, None, ""),
        ({}, b"{", "cannot be read"),
        ({}, b'{"keys":[]}', "has none that signatures can be verified with"),
        ({}, b'{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"key-1"}]}', "has none"),
        ({}, b'{"keys":[' + b" " * 300_000 + b"]}", "more than is read"),
    ],
)
async def test_what_cannot_be_believed_is_not(
    issuer: Issuer, provider: OidcIssuer, metadata: dict[str, str], body: bytes | None, why: str
) -> None:
    provider.metadata, provider.body = metadata, body

    assert why in str(await why_not(issuer))


async def test_keys_that_are_not_for_signatures_or_too_weak_are_left_out(issuer: Issuer, provider: OidcIssuer) -> None:
    weak = {**signing_key("RS256", "weak").as_dict(private=False), "n": "u" * 171}
    encrypts = {**signing_key("ES256", "encrypts").as_dict(private=False), "use": "enc"}
    signs = {**signing_key("ES256", "signs").as_dict(private=False), "key_ops": "sign"}
    shown = [key.as_dict(private=False) for key in (provider.key, signing_key("RS256", "rsa"))]
    provider.body = msgspec.json.encode({"keys": [weak, encrypts, signs, {"kty": "RSA", "n": 1}, {}, *shown]})
    assert await issuer.key("rsa", "RS256") is not None

    assert [key.kid for key in issuer._keys.keys] == ["key-1", "rsa"]
    assert issuer._keys.named("rsa", "ES256") is None
    assert issuer._keys.named(None, "ES256") is not None


async def test_without_a_name_a_token_has_the_only_key_that_suits(issuer: Issuer, provider: OidcIssuer) -> None:
    provider.shown = [provider.key, signing_key("ES256", "key-2"), signing_key("EdDSA", "ed")]
    await issuer._fetched()

    assert issuer._keys.named(None, "ES256") is None
    assert issuer._keys.named(None, "EdDSA") is not None


async def test_a_key_that_did_not_fit_is_looked_for_again_under_the_same_name(
    issuer: Issuer, provider: OidcIssuer, clock: SetClock
) -> None:
    old = await issuer.key("key-1", "ES256")
    clock.advance(AGAIN)
    provider.rotate("key-1")
    new = await issuer.key("key-1", "ES256", tried=old)

    assert new is not None
    assert new != old
    clock.advance(AGAIN)
    assert await issuer.key("key-1", "ES256", tried=new) is None
    assert await issuer.key("key-1", "ES256", tried=new) is None
    assert provider.asked["keys"] == 3

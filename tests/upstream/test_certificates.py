"""A link's own authorities and its client certificate, in files that may be replaced while we run."""

import os
import ssl
from pathlib import Path

import pytest
from msgspec.structs import replace

from aibridge.errors import UpstreamUnreachable
from aibridge.link import Link, Proxy
from aibridge.upstream import HttpUpstream
from aibridge.upstream.certificates import CertificatesUnusable, check
from tests.fakes.proxy import fake_proxy
from tests.upstream.authority import Authority
from tests.upstream.raw_provider import WHOLE, Got, RawProvider, answering, ask, post, raw_provider

pytestmark = pytest.mark.anyio


async def asked(upstream: HttpUpstream, provider: RawProvider, link: Link) -> Got:
    return await ask(upstream, replace(post(provider.url), link=link))


async def test_a_bundle_of_ones_own_is_trusted_and_no_other(upstream: HttpUpstream, tmp_path: Path) -> None:
    ours, others = Authority(tmp_path, "ours"), Authority(tmp_path, "others")
    link = Link(ca_bundle=str(ours.root()))
    async with raw_provider(answering(WHOLE), tls=ours.server("127.0.0.1")) as provider:
        assert (await asked(upstream, provider, link)).body == b"ok"
        with pytest.raises(UpstreamUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await asked(upstream, provider, Link(ca_bundle=str(others.root())))
    async with raw_provider(answering(WHOLE), tls=others.server("127.0.0.1")) as provider:
        with pytest.raises(UpstreamUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await asked(upstream, provider, link)


async def test_the_authorities_that_openssl_is_told_of_are_the_systems(
    upstream: HttpUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root()))
    async with raw_provider(answering(WHOLE), tls=authority.server("127.0.0.1")) as provider:
        assert (await ask(upstream, post(provider.url))).body == b"ok"


@pytest.mark.parametrize("apart", [False, True], ids=["one file", "two files"])
async def test_a_provider_that_asks_for_a_certificate_is_shown_ours(
    upstream: HttpUpstream, tmp_path: Path, apart: bool
) -> None:
    authority = Authority(tmp_path)
    tls = authority.server("127.0.0.1")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(authority.root())
    certificate, key = authority.client("the gateway", apart=apart)
    link = Link(ca_bundle=str(authority.root()), client_cert=str(certificate), client_key=str(key) if key else None)
    async with raw_provider(answering(WHOLE), tls=tls) as provider:
        assert (await asked(upstream, provider, link)).body == b"ok"
        with pytest.raises(UpstreamUnreachable):
            await asked(upstream, provider, Link(ca_bundle=str(authority.root())))


async def test_a_proxy_is_not_shown_the_certificate_that_is_for_the_provider(
    upstream: HttpUpstream, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    for_proxy, for_provider = authority.server("127.0.0.1"), authority.server("127.0.0.1")
    for context in (for_proxy, for_provider):
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(authority.root())
    certificate, _ = authority.client("the gateway")

    async with (
        raw_provider(answering(WHOLE), tls=for_provider) as provider,
        fake_proxy(provider.url, tls=for_proxy) as proxy,
    ):
        way = Link(ca_bundle=str(authority.root()), client_cert=str(certificate), proxy=Proxy.at(proxy.url))
        await asked(upstream, provider, way)

    assert [bool(each) for each in provider.shown] == [True]
    assert [bool(each) for each in proxy.shown] == [False]


async def test_files_that_are_replaced_hold_for_the_next_connection(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(old.root().read_bytes())
    link = Link(ca_bundle=str(bundle))
    upstream = HttpUpstream(max_idle=0)
    async with (
        raw_provider(answering(WHOLE), tls=old.server("127.0.0.1")) as before,
        raw_provider(answering(WHOLE), tls=new.server("127.0.0.1")) as after,
    ):
        assert (await asked(upstream, before, link)).body == b"ok"

        bundle.write_bytes(b"-----BEGIN CERTI")  # in the midst of being written: what held goes on to hold
        assert (await asked(upstream, before, link)).body == b"ok"
        bundle.unlink()
        assert (await asked(upstream, before, link)).body == b"ok"

        other = tmp_path / "other.pem"
        other.write_bytes(new.root().read_bytes())
        os.replace(other, bundle)
        assert (await asked(upstream, after, link)).body == b"ok"
        with pytest.raises(UpstreamUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await asked(upstream, before, link)
        await upstream.close()


def test_files_that_cannot_be_used_are_said_by_their_setting(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.client("the gateway", apart=True)
    locked, its_key = authority.client("the gateway", apart=True, password=b"a password")
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    nowhere = tmp_path / "nowhere.pem"

    for link, told in [
        (Link(ca_bundle=str(nowhere)), r"^ca_bundle: cannot be read \(No such file or directory\)$"),
        (Link(ca_bundle=str(text)), r"^ca_bundle: must be certificates of authorities, as PEM"),
        (Link(client_cert=str(nowhere)), r"^client_cert: cannot be read"),
        (Link(client_cert=str(certificate), client_key=str(nowhere)), r"^client_key: cannot be read"),
        (Link(client_cert=str(certificate)), r"^client_cert: must be a certificate with its chain and its key"),
        (Link(client_cert=str(certificate), client_key=str(its_key)), r"^client_cert, client_key: must be"),
        (Link(client_cert=str(locked), client_key=str(its_key)), r"^client_cert, client_key: must be .* not encrypted"),
    ]:
        with pytest.raises(CertificatesUnusable, match=told) as refused:
            check(link)
        assert str(tmp_path) not in str(refused.value)
    check(Link(client_cert=str(certificate), client_key=str(key), ca_bundle=str(authority.root())))


async def test_files_that_never_could_be_used_make_the_provider_unreachable(
    upstream: HttpUpstream, tmp_path: Path
) -> None:
    async with raw_provider(answering(WHOLE)) as provider:
        with pytest.raises(UpstreamUnreachable, match="certificates for the provider cannot be used") as failed:
            await ask(
                upstream,
                replace(post(provider.url.replace("http", "https")), link=Link(ca_bundle=str(tmp_path / "nowhere"))),
            )

    assert str(tmp_path) not in str(failed.value)
    assert provider.peers == []

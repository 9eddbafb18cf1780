"""How the configuration and the environment say by which way each provider is reached."""

from pathlib import Path

import pytest

from aibridge.link import Link, Proxy
from aibridge.providers import Provider
from aibridge.server.config import Wrong, load
from aibridge.server.configured_links import environment_proxy
from aibridge.server.configured_providers import configured_providers
from tests.upstream.authority import Authority

OPENAI = '[[providers]]\ntype = "openai"\n'
PROXY = "http://ada:hunter2hunter2@proxy.example:3128"


def configured(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> list[Provider]:
    file = tmp_path / "aibridge.toml"
    file.write_text(text)
    return configured_providers(load(file, environ or {}), environ or {})


def test_without_a_word_about_it_there_is_no_link(tmp_path: Path) -> None:
    [provider] = configured(tmp_path, OPENAI)

    assert provider.link is None


def test_each_provider_says_its_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    root = authority.root().name
    certificate, key = authority.client("the gateway", apart=True)
    assert key is not None
    text = f"""
        [upstream]
        ca_bundle = "{root}"
        {OPENAI}
        proxy = "env:THE_PROXY"
        max_connections = 7
        [[providers]]
        type = "anthropic"
        proxy = ""
        client_cert = "{certificate.name}"
        client_key = "{key}"
        [[providers]]
        type = "copilot"
    """

    one, two, three = configured(tmp_path, text, {"THE_PROXY": PROXY, "HTTPS_PROXY": "http://env.example:1"})

    bundle = str(tmp_path / root)
    assert one.link == Link(proxy=Proxy.at(PROXY), max_connections=7, ca_bundle=bundle)
    assert two.link == Link(ca_bundle=bundle, client_cert=str(certificate), client_key=str(key))
    assert three.link == Link(ca_bundle=bundle, proxy=Proxy.at("http://env.example:1"))


@pytest.mark.parametrize(
    ("text", "environ", "told"),
    [
        (OPENAI + 'proxy = "socks5://u:hunter2@h"', {}, "FILE: providers[0].proxy: must be http://HOST"),
        (OPENAI + 'proxy = "env:NOT_SET"', {}, "FILE: providers[0].proxy: the environment variable NOT_SET is not set"),
        (OPENAI, {"HTTPS_PROXY": "socks5://u:hunter2@h"}, "HTTPS_PROXY: must be http://HOST"),
        (OPENAI, {"https_proxy": "http://u:hunter2@h:x"}, "https_proxy: is not a URL"),
        (OPENAI + 'client_key = "key.pem"', {}, "FILE: providers[0]: client_key: needs a client_cert"),
        (OPENAI + 'client_cert = "none.pem"', {}, "FILE: providers[0]: client_cert: cannot be read"),
        ('[upstream]\nca_bundle = "none.pem"\n' + OPENAI, {}, "FILE: upstream: ca_bundle: cannot be read"),
        (OPENAI + "max_connections = -1", {}, "FILE: providers[0].max_connections: must be greater than or equal to 0"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start_in_one_line(
    tmp_path: Path, text: str, environ: dict[str, str], told: str
) -> None:
    with pytest.raises(Wrong) as refused:
        configured(tmp_path, text, environ)

    assert str(refused.value).startswith(told.replace("FILE", str(tmp_path / "aibridge.toml")))
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_provider_that_is_switched_off_needs_no_files(tmp_path: Path) -> None:
    [provider] = configured(tmp_path, OPENAI + 'enabled = false\nca_bundle = "none.pem"')

    assert provider.link is None


def test_the_password_of_a_proxy_is_one_of_the_secrets_and_not_shown(tmp_path: Path) -> None:
    [provider] = configured(tmp_path, OPENAI, {"HTTPS_PROXY": PROXY})

    assert "hunter2hunter2" in provider.secrets
    assert "hunter2" not in repr(provider)


HTTPS, HTTP = "https://api.openai.com/v1", "http://vllm.internal:8000/v1"


@pytest.mark.parametrize(
    ("url", "environ", "host"),
    [
        (HTTPS, {"HTTPS_PROXY": "http://one:1", "HTTP_PROXY": "http://two:2"}, "one"),
        (HTTP, {"HTTPS_PROXY": "http://one:1", "HTTP_PROXY": "http://two:2"}, "two"),
        (HTTPS, {"HTTPS_PROXY": "http://one:1", "https_proxy": "http://two:2"}, "two"),
        (HTTPS, {"HTTPS_PROXY": "http://one:1", "https_proxy": ""}, "one"),
        (HTTPS, {"HTTP_PROXY": "http://two:2"}, None),
        (HTTPS, {"HTTPS_PROXY": ""}, None),
        (HTTPS, {"HTTPS_PROXY": "proxy:3128"}, "proxy"),
        # This machine itself is never behind a proxy.
        ("http://localhost:11434/v1", {"HTTP_PROXY": "http://two:2"}, None),
        ("http://127.0.0.1:11434/v1", {"HTTP_PROXY": "http://two:2"}, None),
        ("http://[::1]:11434/v1", {"HTTP_PROXY": "http://two:2"}, None),
    ],
)
def test_the_environments_proxies(url: str, environ: dict[str, str], host: str | None) -> None:
    proxy = environment_proxy(url, environ)

    assert (proxy and proxy.host) == host


@pytest.mark.parametrize(
    ("url", "exceptions", "excepted"),
    [
        (HTTPS, "*", True),
        (HTTPS, "api.openai.com", True),
        (HTTPS, "openai.com", True),
        (HTTPS, ".openai.com", True),
        (HTTPS, "*.openai.com", True),
        (HTTPS, "OpenAI.com", True),
        (HTTPS, "openai.com.", True),
        (HTTPS, "other.example, api.openai.com", True),
        (HTTPS, "other.example api.openai.com", True),
        (HTTPS, "penai.com", False),
        (HTTPS, "api.openai.com.evil", False),
        (HTTPS, "com.", True),
        (HTTPS, "openai.com:443", True),
        (HTTPS, "openai.com:8443", False),
        (HTTPS, "", False),
        (HTTPS, ",, .", False),
        (HTTP, "vllm.internal:8000", True),
        (HTTP, "vllm.internal:80", False),
        ("http://10.1.2.3:8000", "10.0.0.0/8", True),
        ("http://10.1.2.3:8000", "10.1.2.3", True),
        ("http://10.1.2.3:8000", "10.1.2.3:8000", True),
        ("http://10.1.2.3:8000", "10.1.2.3:80", False),
        ("http://11.1.2.3:8000", "10.0.0.0/8", False),
        ("http://10.1.2.3:8000", "2.3", False),
        ("http://10.1.2.3:8000", "10.0.0.0/99", False),
        ("http://[fd00::1]:8000", "fd00::/8", True),
        ("http://[fd00::1]:8000", "fd00:0::1", True),
        ("http://[fd00::1]:8000", "[fd00::1]", True),
        ("http://[fd00::1]:8000", "[fd00::1]:8000", True),
        ("http://[fd00::1]:8000", "[fd00::1]:80", False),
        ("http://[fd00::2]:8000", "fd00::1", False),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_exceptions_from_the_environments_proxies(url: str, exceptions: str, excepted: bool, name: str) -> None:
    environ = {"HTTPS_PROXY": "http://one:1", "HTTP_PROXY": "http://two:2", name: exceptions}

    assert (environment_proxy(url, environ) is None) is excepted

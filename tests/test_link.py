"""A link is checked when it is made, and does not show what authenticates us at the proxy."""

import base64
import itertools

import pytest

from aibridge import Link, Proxy, providers


@pytest.mark.parametrize(
    ("url", "address", "sent"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128", None),
        ("https://proxy.example", "https://proxy.example:443", None),
        ("http://proxy.example/", "http://proxy.example:80", None),
        ("proxy.example:3128", "http://proxy.example:3128", None),
        ("10.0.0.1", "http://10.0.0.1:80", None),
        ("http://[::1]:3128", "http://[::1]:3128", None),
        ("HTTP://Proxy.Example:1", "http://proxy.example:1", None),
        ("http://ada:secret@h:1", "http://h:1", b"ada:secret"),
        ("ada:secret@h:1", "http://h:1", b"ada:secret"),
        ("http://ada@h:1", "http://h:1", b"ada:"),
        ("http://a%40b:p%3Aq%2F%25@h:1", "http://h:1", b"a@b:p:q/%"),
        ("http://ada:a:b@h:1", "http://h:1", b"ada:a:b"),
        ("http://ada:a@b@h:1", "http://h:1", b"ada:a@b"),
    ],
)
def test_the_ways_to_write_a_proxy(url: str, address: str, sent: bytes | None) -> None:
    proxy = Proxy.at(url)

    assert proxy.address == address
    said = None if proxy.authorization is None else proxy.authorization.reveal()
    assert said == (None if sent is None else "Basic " + base64.b64encode(sent).decode())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "socks5://ada:secret@h:1",
        "http://",
        "http://:80",
        "http://ada:secret@",
        "http://ada:secret@h:0",
        "http://ada:secret@h:99999",
        "http://ada:secret@h:x",
        "http://ada:secret@h/path",
        "http://ada:secret@h?x",
        "http://ada:secret@h\r\nx: y",
        "http://ada:secret@[::1",
        "http://a%3Ab:secret@h",
        "http://ada:secret@hé",
    ],
)
def test_what_is_no_proxy_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|is not a URL)") as refused:
        Proxy.at(url)

    assert "secret" not in str(refused.value)


def test_a_link_shows_no_password_and_says_what_must_be_scrubbed() -> None:
    link = Link(proxy=Proxy.at("http://ada:hunter2hunter2@h:1"))
    provider = providers.openai(key="sk-central", link=link)

    token = base64.b64encode(b"ada:hunter2hunter2").decode()
    for shown in (repr(link), str(link), repr(provider)):
        assert not any(secret in shown for secret in ("hunter2", token))
    assert provider.secrets == ("sk-central", token, "hunter2hunter2")


def test_links_are_equal_by_value_and_differ_by_everything_that_they_say() -> None:
    def made() -> list[Link]:
        return [
            Link(proxy=Proxy.at("http://h:1")),
            Link(proxy=Proxy.at("http://h:2")),
            Link(proxy=Proxy.at("http://a:b@h:1")),
            Link(ca_bundle="a"),
            Link(client_cert="a"),
            Link(max_connections=1),
        ]

    assert made() == made()
    assert len({*made(), *made()}) == len(made())
    assert all(one != other for one, other in itertools.combinations(made(), 2))


@pytest.mark.parametrize("wrong", [{"client_key": "key.pem"}, {"max_connections": -1}])
def test_a_link_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Link(**wrong)  # type: ignore[arg-type]  # one of its fields

"""The cookie of the pages: good for an hour, for one browser, and only as this server made it."""

import pytest

from aibridge.clock import new_id
from aibridge.server.web.sessions import LIFE, Session, Sessions
from tests.durable import SetClock

KEY = new_id()


def sessions(clock: SetClock, *, secure: bool = True, key: bytes = b"k" * 32) -> Sessions:
    return Sessions(key, clock, secure=secure)


def value(cookie: str) -> str:
    return cookie.partition(";")[0]


def test_a_session_comes_back_as_it_was_made() -> None:
    pages = sessions(SetClock())
    session = pages.made(KEY)
    cookie = pages.cookie(session)

    assert pages.opened(f"theme=dark; {value(cookie)}") == session
    assert cookie.startswith("__Host-aibridge=")
    assert cookie.endswith("; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure")
    assert session.id not in repr(session)


def test_without_tls_it_has_no_prefix_that_browsers_would_refuse() -> None:
    cookie = sessions(SetClock(), secure=False).cookie(Session("a" * 64, None, 0))

    assert cookie.startswith("aibridge=")
    assert "Secure" not in cookie


def test_it_ends_after_an_hour() -> None:
    clock = SetClock()
    pages = sessions(clock)
    cookie = value(pages.cookie(pages.made(KEY)))
    clock.advance(LIFE - 1)
    before = pages.opened(cookie)
    clock.advance(1)

    assert before is not None
    assert pages.opened(cookie) is None


@pytest.mark.parametrize("part", range(4))
def test_a_cookie_in_which_anything_was_changed_is_none(part: int) -> None:
    pages = sessions(SetClock())
    name, _, text = value(pages.cookie(pages.made(KEY))).partition("=")
    words = text.split(".")
    words[part] = {1: new_id(), 2: "9999999999"}.get(part, "0" * 64)

    assert pages.opened(f"{name}={'.'.join(words)}") is None


@pytest.mark.parametrize("cookies", ["", "x", "__Host-aibridge=", "__Host-aibridge=a.b.c.d", "=;;=\x00", "aibridge=x"])
def test_what_is_no_cookie_of_ours_is_none(cookies: str) -> None:
    assert sessions(SetClock()).opened(cookies) is None


def test_another_secret_makes_all_sessions_void() -> None:
    pages = sessions(SetClock())

    assert sessions(SetClock(), key=b"x" * 32).opened(value(pages.cookie(pages.made(KEY)))) is None


def test_a_form_is_of_one_session_and_one_page() -> None:
    pages = sessions(SetClock())
    one, other = pages.made(KEY), pages.made(KEY)
    anonymous = Session(one.id, None, one.ends)

    tokens = {
        pages.form_token(one, "wiki"),
        pages.form_token(other, "wiki"),
        pages.form_token(one, "other"),
        pages.form_token(anonymous, "wiki"),
    }
    assert len(tokens) == 4

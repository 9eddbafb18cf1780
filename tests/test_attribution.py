import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.actor import Actor
from aibridge.attribution import identifier
from aibridge.providers.base import UpstreamUser

KEY = b"attribution key"
ALICE = Actor(id="0191e0a4-6f5e-7c3a-9d55-0f3b0c6e2a11", username="alice", email="alice@example.com")
CHOICES: tuple[UpstreamUser, ...] = ("id", "username", "email", "hash")


def hashed(value: str) -> str:
    return hmac.new(KEY, value.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("choice", "value"),
    [
        ("id", "0191e0a4-6f5e-7c3a-9d55-0f3b0c6e2a11"),
        ("username", "alice"),
        ("email", "alice@example.com"),
        ("hash", hashed("0191e0a4-6f5e-7c3a-9d55-0f3b0c6e2a11")),
        ("off", None),
    ],
)
def test_the_setting_says_by_what_a_person_is_named(choice: UpstreamUser, value: str | None) -> None:
    assert identifier(ALICE, choice, key=KEY, limit=64) == value


@pytest.mark.parametrize("choice", ["username", "email"])
@pytest.mark.parametrize("missing", [None, ""])
def test_who_lacks_what_is_asked_for_is_named_by_id(choice: UpstreamUser, missing: str | None) -> None:
    actor = Actor(id="u-1", username=missing, email=missing)

    assert identifier(actor, choice, key=KEY, limit=64) == "u-1"


def test_a_value_that_is_too_long_is_replaced_by_its_hash() -> None:
    assert identifier(Actor(id="x" * 64), "id", key=KEY, limit=64) == "x" * 64
    assert identifier(Actor(id="x" * 65), "id", key=KEY, limit=64) == hashed("x" * 65)
    assert identifier(Actor(id="x" * 65), "id", key=KEY, limit=256) == "x" * 65


@pytest.mark.parametrize("name", ["a\nb", "a\x00", "\x7f", "\u202eevil", "\ud800"])
def test_what_is_no_plain_text_is_replaced_by_its_hash(name: str) -> None:
    found = identifier(Actor(id="u-1", username=name), "username", key=KEY, limit=64)

    assert found == hmac.new(KEY, name.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def test_names_of_any_script_are_text() -> None:
    assert identifier(Actor(id="u", username="Zoë 王"), "username", key=KEY, limit=64) == "Zoë 王"


def test_another_key_gives_another_hash_of_the_same_person() -> None:
    assert identifier(ALICE, "hash", key=KEY, limit=64) != identifier(ALICE, "hash", key=b"another", limit=64)


ANY_TEXT = st.text(st.characters(), max_size=300)


@given(
    id_=ANY_TEXT.filter(bool),
    username=st.none() | ANY_TEXT,
    email=st.none() | ANY_TEXT,
    choice=st.sampled_from(CHOICES),
    limit=st.sampled_from([64, 256]),
)
def test_unless_it_is_off_nobody_goes_unnamed_and_no_limit_is_passed(
    id_: str, username: str | None, email: str | None, choice: UpstreamUser, limit: int
) -> None:
    actor = Actor(id=id_, username=username, email=email)
    found = identifier(actor, choice, key=KEY, limit=limit)

    assert found is not None
    assert 0 < len(found) <= limit
    assert found.isprintable()
    assert found == identifier(actor, choice, key=KEY, limit=limit)

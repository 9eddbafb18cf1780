"""The shape of our keys: every key that is made is known again, and every typing error is seen."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.server.auth.key_format import looks_like_ours, make, parse

KEY_IDS = st.uuids().map(str)
SECRETS = st.binary(min_size=32, max_size=32)


def test_a_key_looks_the_same_for_ever() -> None:
    # Keys are in people's settings: a changed shape would lock them out.
    made = make("0192f000-0000-7000-8000-00000000000a", bytes(range(32)))

    assert made == "aib_0192f00000007000800000000000000a_003aUlTJC7tjlCTQj2uNU3MFagCXG9LRKRcwGkBIDlf2HwO8T"


@given(KEY_IDS, SECRETS)
def test_a_key_that_was_made_is_ours_and_gives_its_id(key_id: str, secret: bytes) -> None:
    made = make(key_id, secret)

    assert looks_like_ours(made)
    assert parse(made) == key_id


@given(KEY_IDS, SECRETS, SECRETS)
def test_different_secrets_make_different_keys(key_id: str, one: bytes, other: bytes) -> None:
    assert (make(key_id, one) == make(key_id, other)) == (one == other)


@given(KEY_IDS, SECRETS, st.integers(0, 85), st.characters(categories=["Lu", "Ll", "Nd", "Pc"]))
def test_one_wrong_character_is_seen(key_id: str, secret: bytes, place: int, character: str) -> None:
    made = make(key_id, secret)
    mistyped = made[:place] + character + made[place + 1 :]

    assert looks_like_ours(mistyped) == (mistyped == made)


@given(KEY_IDS, SECRETS, st.integers(0, 85))
def test_a_part_of_a_key_is_none(key_id: str, secret: bytes, length: int) -> None:
    made = make(key_id, secret)

    assert not looks_like_ours(made[:length])
    assert not looks_like_ours(f"{made}\n")


@pytest.mark.parametrize(
    ("key_id", "secret"), [("alice", bytes(32)), (str(uuid.uuid4()), bytes(31)), (str(uuid.uuid4()).upper(), bytes(32))]
)
def test_what_makes_no_key_is_refused(key_id: str, secret: bytes) -> None:
    with pytest.raises(ValueError, match="a lower-case UUID and 32 bytes"):
        make(key_id, secret)

"""What is sealed opens with the same key and about the same thing, and in no other case."""

import pytest

from aibridge.server.sealing import Sealing

KEY = bytes(range(32))


@pytest.mark.parametrize("content", [b"", b"x", b"a plan" * 1000])
def test_what_was_sealed_opens(content: bytes) -> None:
    sealed = Sealing(KEY).sealed(content, b"row 1")

    assert Sealing(KEY).opened(sealed, b"row 1") == content
    assert len(sealed) == len(content) + 1 + 12 + 16


def test_the_same_content_is_sealed_differently_each_time() -> None:
    cipher = Sealing(KEY)

    assert cipher.sealed(b"a plan", b"row 1") != cipher.sealed(b"a plan", b"row 1")


def test_another_key_another_row_and_a_changed_byte_open_nothing() -> None:
    sealed = Sealing(KEY).sealed(b"a plan", b"row 1")
    changed = [sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :] for place in range(len(sealed))]

    assert Sealing(bytes(32)).opened(sealed, b"row 1") is None
    assert Sealing(KEY).opened(sealed, b"row 2") is None
    assert {Sealing(KEY).opened(one, b"row 1") for one in changed} == {None}
    assert {Sealing(KEY).opened(sealed[:length], b"row 1") for length in range(len(sealed))} == {None}

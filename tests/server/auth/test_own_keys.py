"""Nothing that goes on holds a key of ours, live or dead, and nothing else is cut."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.clock import new_id
from aibridge.server.auth import key_format
from aibridge.server.auth.own_keys import query_without_keys, without_keys

KEY = key_format.make(new_id(), bytes(range(32)))
MISTYPED = KEY[:-1] + ("A" if KEY[-1] != "A" else "B")


@pytest.mark.parametrize(
    ("value", "rest"),
    [
        (KEY, None),
        (f"  {KEY} ", None),
        (f"Bearer {KEY}", None),
        (f"basic {KEY}", None),
        (f"a={KEY}; b=2", "a= ; b=2"),
        (f"{KEY}{KEY}", None),
        (f"x{KEY}y", "x y"),
        (f"{KEY[:30]}{KEY}{KEY[30:]}", f"{KEY[:30]} {KEY[30:]}"),
        (MISTYPED, MISTYPED),
        ("aib_", "aib_"),
        ("sk-ant-1", "sk-ant-1"),
    ],
)
def test_keys_are_cut_out_of_any_header(value: str, rest: str | None) -> None:
    kept = without_keys([(b"X-Anything", value.encode())], frozenset())

    assert kept == ([] if rest is None else [(b"X-Anything", rest.encode())])


def test_named_headers_are_dropped_however_they_are_written_and_the_others_stay_as_they_are() -> None:
    headers = [(b"Authorization", b"Bearer sk"), (b"X-Odd", b" \xff spaces "), (b"x-odd", b"")]

    assert without_keys(headers, frozenset({b"authorization"})) == headers[1:]


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        ("beta=true", "beta=true"),
        (f"key={KEY}", ""),
        (f"a=1&key={KEY}&b=2", "a=1&b=2"),
        (f"a=1&key={quote(KEY).replace('_', '%5F')}&b=%20", "a=1&b=%20"),
        (f"a=1&{KEY}", "a=1"),
        (f"key=%61ib_{KEY[4:]}", ""),
        (f"key={MISTYPED}", f"key={MISTYPED}"),
        ("a=%zz&b=%", "a=%zz&b=%"),
    ],
)
def test_parameters_with_a_key_are_dropped_and_the_others_stay_byte_for_byte(query: str, rest: str) -> None:
    assert query_without_keys(query.encode()) == rest.encode()


@given(st.binary(), st.binary(), st.integers(0, 2**256 - 1))
def test_no_key_survives_in_a_header(before: bytes, after: bytes, number: int) -> None:
    key = key_format.make(new_id(), number.to_bytes(32)).encode()

    kept = without_keys([(b"x", before + key + after)], frozenset())

    assert all(key not in value for _, value in kept)

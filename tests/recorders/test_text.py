"""Whatever text comes is kept as far as the databases allow, and text that they allow is kept as it is."""

from __future__ import annotations

import json
import sqlite3

from hypothesis import given
from hypothesis import strategies as st

from aibridge.recorders.text import clean, cut, json_of, name
from aibridge.records import JsonValue

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)  # NUL and lone surrogates too
ANY_JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


def storable(text: str) -> bool:
    """Whether SQLite gives the text back as it was, and PostgreSQL would take it."""
    [kept] = sqlite3.connect(":memory:").execute("SELECT ?", (text,)).fetchone()
    return kept == text and "\0" not in text


@given(ANY_TEXT)
def test_clean_text_can_be_stored_and_is_clean_already(text: str) -> None:
    cleaned = clean(text)

    assert storable(cleaned)
    assert clean(cleaned) == cleaned


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_valid_text_is_unchanged(text: str) -> None:
    assert clean(text) == text


def test_pairs_of_surrogates_become_their_character_and_lone_ones_a_replacement() -> None:
    assert clean("\ud83d\ude00 \ud83d \0") == "\U0001f600 \ufffd \ufffd"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.integers(64, 400))
def test_cut_text_is_never_longer_than_allowed_and_whole_where_it_fits(text: str, limit: int) -> None:
    kept = cut(text, limit)
    size = len(text.encode())

    assert len(kept.encode()) <= limit
    if size <= limit:
        assert kept == text
    else:
        marker = f" [cut: {size} bytes]"
        assert kept.endswith(marker)
        assert text.startswith(kept.removesuffix(marker))
        assert len(kept.encode()) > limit - 4  # no more than a part of one character is lost


@given(ANY_TEXT, st.integers(0, 20))
def test_a_limit_that_leaves_no_room_is_kept_too(text: str, limit: int) -> None:
    assert len(cut(clean(text), limit).encode()) <= limit


@given(st.none() | ANY_TEXT)
def test_names_are_storable_and_short(text: str | None) -> None:
    kept = name(text)

    assert (kept is None) == (text is None)
    assert kept is None or (storable(kept) and len(kept) <= 512)
    assert name("x" * 10_000) == "x" * 512


@given(ANY_JSON)
def test_every_json_value_can_be_stored_and_read_again(value: JsonValue) -> None:
    kept = json_of(value)

    assert storable(kept)
    assert "\\u0000" not in kept.replace("\\\\", "")
    assert json.loads(kept) == cleaned(value)


def cleaned(value: JsonValue) -> JsonValue:
    """The same value, each of its strings clean."""
    match value:
        case str():
            return clean(value)
        case list():
            return [cleaned(item) for item in value]
        case dict():
            return {clean(key): cleaned(item) for key, item in value.items()}
        case _:
            return value


def test_json_keeps_large_numbers_and_backslashes() -> None:
    assert json_of({"n": 2**100}) == f'{{"n":{2**100}}}'
    assert json.loads(json_of("a\\u0000b")) == "a\\u0000b"
    assert json.loads(json_of({"a\0": ["\0", "\ud800"]})) == {"a\ufffd": ["\ufffd", "\ufffd"]}


def test_what_is_no_json_or_too_deep_is_said_and_not_raised() -> None:
    deep: JsonValue = []
    for _ in range(100_000):
        deep = [deep]

    assert json_of(deep) == '"[not kept: list that is no JSON]"'
    assert json_of(object()) == '"[not kept: object that is no JSON]"'  # type: ignore[arg-type] # a host may err

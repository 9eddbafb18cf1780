"""The small readings that all dialects share: bounded, tolerant, and never blind to an id that a provider would see."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aibridge.dialects.reading import (
    Kept,
    count,
    decoded,
    elements,
    mapping,
    reads_as_true,
    referenced_ids,
    request_object,
    string_member,
    text,
    tool_input,
)
from aibridge.errors import InvalidRequest
from aibridge.wire.json_body import JsonObject
from tests.strategies.json_texts import spelled, values

_LONG = "9" * 5000


# -- what grows piece by piece


@given(st.lists(st.tuples(st.integers(0, 2), st.text(max_size=6)), max_size=20), st.integers(0, 40))
def test_kept_texts_are_what_was_added_up_to_the_limit(pieces: list[tuple[int, str]], limit: int) -> None:
    kept, free = Kept(), Kept(limit)
    for key, piece in pieces:
        kept.add(key, piece)
        free.add(key, piece)

    whole = {key: "".join(piece for one, piece in pieces if one == key) for key in range(3)}
    assert {key: kept.take(key) for key in range(3)} == whole
    bounded = {key: free.take(key) for key in range(3)}
    assert all(whole[key].startswith(bounded[key]) for key in range(3))
    size = sum(len(piece.encode()) for piece in whole.values())
    assert sum(len(piece.encode()) for piece in bounded.values()) in range(min(size, limit) - 3, min(size, limit) + 1)


def test_a_taken_text_is_forgotten() -> None:
    kept = Kept()
    kept.add("a", "once")

    assert (kept.take("a"), kept.take("a"), kept.take("never")) == ("once", "", "")


def test_many_small_pieces_take_little_more_than_their_letters() -> None:
    tracemalloc.start()
    try:
        kept = Kept()
        for number in range(10_000):
            kept.add("a", f" word{number % 10}")
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size < 3 * 60_000


# -- JSON values


@given(values)
def test_what_the_standard_library_reads_is_decoded(value: str) -> None:
    expected = json.loads(value, parse_int=_int, parse_float=_float)

    assert decoded(value.encode()) == _whole(expected)
    if value.strip('" '):
        assert tool_input(value) == _whole(expected)


def _int(digits: str) -> int | str:
    return int(digits) if len(digits) <= 4300 else digits


def _float(digits: str) -> float | str:
    return float(digits) if float(digits) not in (float("inf"), float("-inf")) else digits


def _whole(value: object) -> object:
    """`value` with U+FFFD for every half of a surrogate pair."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole(one) for one in value]
    if isinstance(value, dict):
        return {_whole(name): _whole(one) for name, one in value.items()}
    return value


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (None, None),
        (b"", None),
        (b"{", None),
        (b"NaN", None),
        (b'{"a":Infinity}', None),
        (b'{"a":1}x', None),
        (b"[" * 100_000 + b"]" * 100_000, None),
        (b'"\\ud83d"', "\ufffd"),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\\\ud83d"', "\\ud83d"),
        (b'"caf\xe9"', "caf\ufffd"),
        (b"[1e400, -1e400]", ["1e400", "-1e400"]),
        (f"[{_LONG}]".encode(), [_LONG]),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_decoding_goes_as_far_as_it_can(raw: bytes | None, value: object) -> None:
    assert decoded(raw) == value


def test_elements_stay_undecoded() -> None:
    assert [bytes(one) for one in elements(b' [1e5 , {"a" : 1},"x"] ')] == [b"1e5", b'{"a" : 1}', b'"x"']
    assert [bytes(one) for one in elements(b'[1,"\\ud83d"]')] == [b"1", b'"\\ufffd"']


@pytest.mark.parametrize("raw", [None, b"", b"{}", b'"x"', b"[1", b"[" * 100_000])
def test_what_is_no_array_has_no_elements(raw: bytes | None) -> None:
    assert elements(raw) == []


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ("", None),
        (" \n", None),
        ("{}", {}),
        ("null", None),
        ('{"a":1}', {"a": 1}),
        ('{"a":1', '{"a":1'),
        ("ls -la", "ls -la"),
        ('{"a":NaN}', '{"a":NaN}'),
        ('{"a":"\\ud83d"}', {"a": "\ufffd"}),
        ('{"a":1e400}', {"a": "1e400"}),
        ("[" * 100_000, "[" * 100_000),
        ("half \ud83d", "half \ud83d"),
    ],
)
def test_arguments_are_parsed_or_kept_as_they_were_written(arguments: str, value: object) -> None:
    assert tool_input(arguments) == value


@pytest.mark.parametrize(
    ("value", "number"),
    [(5, 5), (0, 0), (-1, 0), (5.9, 5), (1e300, 2**63 - 1), (2**70, 2**63 - 1), (True, 0), (None, 0), ("5", 0)],
)
def test_counts_are_numbers_that_a_column_holds(value: object, number: int) -> None:
    assert count(value) == number


def test_values_of_another_type_are_nothing() -> None:
    assert (text("a"), text(None), text(3), text(["a"])) == ("a", "", "", "")
    assert (mapping({"a": 1}), mapping(None), mapping([1]), mapping("a")) == ({"a": 1}, {}, {}, {})


# -- requests


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty"),
        (b"[]", "object"),
        (b"{}", "model"),
        (b'{"model":""}', "model"),
        (b'{"model":7}', "model"),
        (b'{"model":null}', "model"),
        (b'{"model":"a","model":"b"}', "duplicate key: model"),
        (b'{"model":"a","mo\\u0064el":"b"}', "duplicate key: model"),
        (b'{"model":"\\ud83d"}', "model: the string is not valid Unicode"),
        (b'{"model":"\xff"}', "model: the string is not valid Unicode"),
    ],
)
def test_a_body_without_one_readable_model_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why) as raised:
        request_object(body, {"model"})
    assert raised.value.problem.status == 400


def test_a_member_that_is_no_string_has_none() -> None:
    found = JsonObject.parse(b'{"a":"x","b":7,"c":{"a":"y"}}')

    assert [string_member(found, name) for name in "abcd"] == ["x", None, None, None]


# -- references

_NAMES = ("file_id", "container")
_OPAQUE = frozenset({"input", "input_schema"})


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ('{"a":[{"file_id":"f1"},{"file_id":"f2"},{"file_id":"f1"}],"container":"c1"}', ("f1", "f2", "c1")),
        ('{"container":{"id":"c1","skills":[{"file_id":"f1"}]}}', ("c1", "f1")),
        ('{"file_id":["f1","f2",3]}', ("f1", "f2")),
        ('{"file_id":null,"container":7}', ()),
        ('{"input":{"file_id":"not one"},"input_schema":{"file_id":"nor this"}}', ()),
        ('{"input":"file_id","text":"\\"file_id\\":\\"f1\\""}', ()),
        (r'{"fil\u0065_id":"f1"}', ("f1",)),
        (r'{"file\u005Fid":"f1"}', ("f1",)),
        (r'{"text":"\u00e9\u001b[0m"}', ()),
        # Which of two a provider takes is not ours to guess.
        ('{"source":{"file_id":"mine","file_id":"theirs"}}', ("mine", "theirs")),
        ('{"container":{"id":"mine","id":"theirs"}}', ("mine", "theirs")),
        # What our quick decoder refuses must not hide an id.
        ('{"big":1e999,"file_id":"f1"}', ("f1",)),
        (f'{{"long":{_LONG},"file_id":"f1"}}', ("f1",)),
        (r'{"half":"\ud83d","file_id":"f1"}', ("f1",)),
    ],
)
def test_references_are_found_wherever_a_provider_would_look(body: str, ids: tuple[str, ...]) -> None:
    assert referenced_ids(body.encode(), _NAMES, _OPAQUE) == ids


def test_references_are_found_beside_a_byte_that_is_no_utf8() -> None:
    assert referenced_ids(b'{"x":"\xff","file_id":"f1"}', _NAMES, _OPAQUE) == ("f1",)


@pytest.mark.parametrize("body", [b'{"file_id":"f1"', b'{"file_id":' + b"[" * 100_000, b'{"file_id":NaN}'])
def test_a_body_whose_references_cannot_be_checked_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        referenced_ids(body, _NAMES, _OPAQUE)


@given(
    st.lists(st.tuples(st.sampled_from([*_NAMES, "other", "input"]), st.lists(st.booleans(), max_size=9)), max_size=5),
    st.text(max_size=4),
)
@example([("file_id", [True])], "f1")
def test_references_are_found_in_any_spelling_at_any_depth(path: list[tuple[str, list[bool]]], value: str) -> None:
    body = json.dumps(value)
    for name, escaped in reversed(path):
        body = f'[0,{{"x":1,{spelled(name, tuple(escaped))}:{body}}}]'

    names = [name for name, _ in path]
    found = referenced_ids(body.encode(), _NAMES, _OPAQUE)

    seen = bool(names) and names[-1] in _NAMES and "input" not in names
    assert found == ((value,) if seen else ())


# -- what providers that are not strict take for true ----------------------------------------------------


@pytest.mark.parametrize(
    "raw", [b"true", b"1", b"1.0", b"2", b"-1", b"1e999", b'"true"', b'"True"', b'"on"', b'"y"', b'"1"', b'"\\u0079es"']
)
def test_these_are_taken_for_true(raw: bytes) -> None:
    assert reads_as_true(raw)


@pytest.mark.parametrize(
    "raw",
    [None, b"false", b"null", b"0", b"0.0", b"-0", b'""', b'"FALSE"', b'"off"', b'"no"', b'"0"', b"[]", b"{}", b"[1]"],
)
def test_these_are_not_taken_for_true(raw: bytes | None) -> None:
    assert not reads_as_true(raw)

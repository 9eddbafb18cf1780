"""JSON objects against the standard library's reading: places, edits that keep all other bytes, doubled members."""

from __future__ import annotations

import contextlib
import json
from collections import Counter

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject, with_whole_surrogates
from tests.strategies.json_texts import NAMES, objects, spelled, values
from tests.wire.plain_json import is_object, members_of, pairs_of

_TRAPPED = [
    '{"a":1,"a":12}',
    '{"a":12,"a":1}',
    '{"a":"x","b":1,"a":"x"}',
    '{"a":1,"b":2,"a":1}',
    '{"a":[1,2],"b":3,"a":[1,2]}',
    r'{"a":{"a":1},"\u0061":{"a":1}}',
    '{"a":1,"a":1,"a":1 }',
    '{"a":-1,"b":0,"a":-1e0}',
    '{"a":"},","a":"},"}',
    # As long as the beginning of the value before it, behind which the text goes on as if that were all.
    '{"a":{"x":1,"b":0},"b":0,"a":123456}',
    '{"a":[1,2],"b":0,"a":11}',
    '{"a":"1,\\"b\\":0","b":0,"a":"1"}',
    '{"b":{"a":1},"a":1,"b":{"a":1}}',
    '{"a":"\\ud800","b":1,"a":"\\ud800"}',
    '{"\\ud800":1,"\\ud801":2}',
]


@given(objects)
def test_members_are_where_the_standard_library_finds_them(text: str) -> None:
    _check_members(text)


@pytest.mark.parametrize("text", _TRAPPED)
def test_doubled_members_cannot_mislead(text: str) -> None:
    _check_members(text)
    _check_unique(text, {"a"})
    _check_unique(text, {"b"})


def _check_members(text: str) -> None:
    found = JsonObject.parse(text.encode())

    expected = {_clean(member.name): text.encode()[member.start : member.end] for member in members_of(text)}
    assert {name: found.raw(name) for name in found.names()} == expected
    assert all(name in found for name in expected)
    assert found.raw("no such member") is None


@given(objects, st.sets(st.sampled_from(NAMES)))
@example(r'{"user":1,"u\u0073er":1}', {"user"})
@example('{"user":1,"model":2,"user":1}', {"model"})
def test_a_member_that_must_stand_once_may_not_stand_twice(text: str, unique: set[str]) -> None:
    _check_unique(text, unique)


def _check_unique(text: str, unique: set[str]) -> None:
    counts = Counter(member.name for member in members_of(text))
    doubled = {name for name in unique if counts[name] > 1}

    if doubled:
        with pytest.raises(DoubledMember) as raised:
            JsonObject.parse(text.encode(), unique)
        assert raised.value.name in doubled
    else:
        JsonObject.parse(text.encode(), unique)


@given(objects, st.dictionaries(st.sampled_from([*NAMES, "new", "née"]), values, max_size=4))
@example('{"user":"a","safety_identifier":"b"}', {"safety_identifier": '"y"', "user": '"x"'})
@example("{ }", {"a": "1", "model": "2"})
@example(' {"a" : 1 } ', {"model": "[]"})
@example('{"a":1}', {})
def test_an_edit_changes_its_members_and_no_other_byte(text: str, changes: dict[str, str]) -> None:
    body = text.encode()
    edited = JsonObject.parse(body).with_members({name: value.encode() for name, value in changes.items()})

    last = {member.name: member for member in members_of(text)}
    set_here = sorted((last[name].start, last[name].end, value) for name, value in changes.items() if name in last)
    added = [(name, value) for name, value in changes.items() if name not in last]
    expected, position = b"", 0
    for start, end, value in set_here:
        expected += body[position:start] + value.encode()
        position = end
    behind = max((member.end for member in last.values()), default=body.index(b"{") + 1)
    expected += body[position:behind]
    if added:
        listed = ",".join(f"{json.dumps(name, ensure_ascii=False)}:{value}" for name, value in added)
        expected += (b"," if last else b"") + listed.encode()
    expected += body[behind:]
    assert edited == expected
    assert pairs_of(edited)  # still JSON
    again = JsonObject.parse(edited)
    assert all(again.raw(name) == value.encode() for name, value in changes.items())


@given(objects, st.data())
def test_what_is_no_json_is_refused_and_what_is_json_is_taken(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)), label="at")
    cut = data.draw(st.integers(0, 3), label="cut")
    inserted = data.draw(st.sampled_from(["", "}", "{", '"', "\\", ",", "1", "x", "\x00", "\n", "tru", "\ufeff"]))
    mangled = text[:at] + inserted + text[at + cut :]

    if is_object(mangled):
        _check_members(mangled)
    else:
        with pytest.raises(NotAnObject):
            JsonObject.parse(mangled.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=30))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    with contextlib.suppress(NotAnObject, DoubledMember):
        JsonObject.parse(body, ("model",))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"[]", "object"),
        (b'"x"', "object"),
        (b"null", "object"),
        (b"{", "not valid"),
        (b'{"a":1}{"a":1}', "not valid"),
        (b'{"a":1} x', "not valid"),
        (b'\xef\xbb\xbf{"a":1}', "not valid"),
        (b'{"\xff":1}', "not valid"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deep"),
        (b'{"a":1,"a":' + b'{"a":' * 100_000, "deep"),
    ],
)
def test_a_refusal_says_why_without_content(body: bytes, why: str) -> None:
    with pytest.raises(NotAnObject, match=why):
        JsonObject.parse(body)


def test_nesting_is_taken_as_deep_as_it_is_checked_also_the_slow_way() -> None:
    deep = b"[" * 800 + b"]" * 800

    found = JsonObject.parse(b'{"x":1,"x":' + deep + b',"model":"m"}', ("model",))

    assert found.raw("x") == deep
    assert found.string("model") == "m"


def test_long_digits_are_no_obstacle_also_the_slow_way() -> None:
    digits = b"7" * 10_000

    assert JsonObject.parse(b'{"x":1,"x":' + digits + b"}").raw("x") == digits


@given(values)
def test_strings_and_truth_are_read(value: str) -> None:
    found = JsonObject.parse(b'{"a":' + value.encode() + b"}")

    assert found.is_true("a") == (value == "true")
    expected = json.loads(value, parse_int=str, parse_float=str) if value.startswith('"') else None
    if expected is not None and _clean(expected) != expected:
        with pytest.raises(msgspec.DecodeError):
            found.string("a")
    else:
        assert found.string("a") == expected


@given(objects)
def test_halves_of_surrogate_pairs_are_replaced_and_nothing_moves(text: str) -> None:
    whole = with_whole_surrogates(text.encode()).decode()

    assert len(whole) == len(text)
    assert pairs_of(whole) == _cleaned(pairs_of(text))
    if json.dumps(pairs_of(text)) == json.dumps(pairs_of(whole)):
        assert whole == text


@given(st.sampled_from(NAMES), st.lists(st.booleans(), max_size=4).map(tuple))
def test_spellings_of_a_name_are_the_name(name: str, escaped: tuple[bool, ...]) -> None:
    assert json.loads(spelled(name, escaped)) == name


def _clean(string: str) -> str:
    return string.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _cleaned(value: object) -> object:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, tuple | list):
        return type(value)(_cleaned(one) for one in value)
    return value

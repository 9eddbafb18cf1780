"""Elements put into an array and cut out of it; the other bytes stay."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge.wire.json_array import JsonArray, with_first, with_last
from tests.strategies.json_texts import values

_SPACE = st.sampled_from(["", " ", "\n\t"])


def _array(text: bytes) -> JsonArray:
    array = JsonArray.parse(text)
    assert array is not None
    return array


@pytest.mark.parametrize("text", [b"", b"{}", b"[", b"[1,]", b'"[1]"', b"null", b"[" * 100_000])
def test_what_is_no_array_is_none(text: bytes) -> None:
    assert JsonArray.parse(text) is None


@pytest.mark.parametrize(
    ("text", "further", "expected"),
    [
        (b"[]", {0: b"1"}, b"[1]"),
        (b" [ ] ", {0: b"1,2"}, b" [ 1,2] "),
        (b"[ 1 , 2 ]", {0: b"0"}, b"[ 0,1 , 2 ]"),
        (b"[ 1 , 2 ]", {1: b"8,9"}, b"[ 1 , 8,9,2 ]"),
        (b"[ 1 , 2 ]", {2: b"3", 0: b"0"}, b"[ 0,1 , 2,3 ]"),
        (b"[1]", {}, b"[1]"),
    ],
)
def test_elements_are_put_before_others_or_at_the_end(
    text: bytes, further: Mapping[int, bytes], expected: bytes
) -> None:
    assert _array(text).inserting(further) == expected


def test_elements_give_way_to_others() -> None:
    array = _array(b"[ 1 , 2 ,3 ]")

    assert array.inserting({}, {1: b"8,9"}) == b"[ 1 , 8,9 ,3 ]"
    assert array.inserting({0: b"0", 1: b"7", 3: b"4"}, {1: b"8", 2: b"9"}) == b"[ 0,1 , 7,8 ,9,4 ]"


@pytest.mark.parametrize(
    ("text", "numbers", "expected"),
    [
        (b"[ 1 , 2 ,\n3 ]", {2}, b"[ 1 , 2 ]"),
        (b"[ 1 , 2 ,\n3 ]", {0}, b"[ 2 ,\n3 ]"),
        (b"[ 1 , 2 ,\n3 ]", {1}, b"[ 1 ,\n3 ]"),
        (b"[ 1 , 2 ,\n3 ]", {0, 1, 2}, b"[  ]"),
        (b"[ 1 , 2 ]", {7}, b"[ 1 , 2 ]"),
        (b"[ ]", {0}, b"[ ]"),
    ],
)
def test_elements_are_cut_out_with_their_comma(text: bytes, numbers: set[int], expected: bytes) -> None:
    assert _array(text).without(numbers) == expected


@given(elements=st.lists(values, max_size=5), data=st.data())
def test_edits_are_those_of_a_list_and_leave_the_other_bytes(elements: list[str], data: st.DataObject) -> None:
    spaced = [data.draw(_SPACE) + one + data.draw(_SPACE) for one in elements]
    array = _array(("[" + ",".join(spaced) + "]").encode())
    own = [one.encode() for one in elements]
    places = data.draw(st.sets(st.integers(0, len(own))))
    cut = data.draw(st.sets(st.integers(0, len(own))))

    inserted = _array(array.inserting(dict.fromkeys(places, b'"new",0'))).elements()
    left = _array(array.without(cut)).elements()
    replaced = _array(array.replacing({number: b'"new"' for number in places if number < len(own)})).elements()

    assert array.elements() == own
    expected: list[bytes] = []
    for number in range(len(own) + 1):
        expected += [b'"new"', b"0"] if number in places else []
        expected += own[number : number + 1]
    assert inserted == expected
    assert left == [one for number, one in enumerate(own) if number not in cut]
    assert replaced == [b'"new"' if number in places else one for number, one in enumerate(own)]
    assert array.inserting({}) == array.without(set()) == array.replacing({}) == array.text
    json.loads(array.without(cut))


@given(st.lists(values, max_size=4), _SPACE, _SPACE)
def test_elements_are_put_at_both_ends_without_reading_the_others(
    elements: list[object], inside: str, outside: str
) -> None:
    written = f",{inside}".join(json.dumps(one) for one in elements)
    text = f"{outside}[{inside}{written}{inside}]{outside}".encode()
    array = _array(text)

    assert with_first(text, b"8,9") == array.inserting({0: b"8,9"})
    assert with_last(text, b"8,9") == array.inserting({len(array): b"8,9"})


@pytest.mark.parametrize("text", [b"", b"{}", b'"[1]"', b"null"])
def test_nothing_is_put_into_what_is_no_array(text: bytes) -> None:
    assert with_first(text, b"1") is None
    assert with_last(text, b"1") is None

"""JSON texts as odd as the grammar allows: spacing, spellings of numbers and names, members that stand twice."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import strategies as st

NAMES = ("model", "user", "metadata", "a", "", "é", "a,b", '"', "}", "\\")

_SPACE = st.sampled_from(["", "", "", " ", "\n", "\t\r\n "])
_NUMBERS = st.sampled_from(
    [
        "0",
        "-0",
        "1",
        "12",
        "1.0",
        "1.50",
        "1e5",
        "1E+05",
        "-1.5e-7",
        "1e999",
        "123456789012345678901234567890",
        "9" * 400,
    ]
)
# Strings that look like the structure around them, and halves of surrogate pairs.
_TRAPS = st.sampled_from(
    [
        *('""', '"}"', '"]"', '","', '"\\"}"', '"\\\\"', '"\\\\\\""', '"{\\"model\\":1}"', '",\\"user\\":\\"x\\"}"'),
        *('"\\u0022,"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ude00\\uD83D x"', '"\\\\ud800"', '"😀"', '"\u2028\x7f"'),
    ]
)


def spelled(name: str, escaped: tuple[bool, ...]) -> str:
    """`name` as a JSON string in which the letters at the marked places are written with escapes."""
    letters = (
        f"\\u{ord(letter):04x}"
        if number < len(escaped) and escaped[number]
        else json.dumps(letter, ensure_ascii=False)[1:-1]
        for number, letter in enumerate(name)
    )
    return '"' + "".join(letters) + '"'


_KEYS = st.builds(spelled, st.sampled_from(NAMES), st.lists(st.booleans(), max_size=4).map(tuple))
_SCALARS = st.one_of(_NUMBERS, _TRAPS, st.sampled_from(["true", "false", "null"]), st.text(max_size=6).map(json.dumps))


@st.composite
def _array(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    spaced = [draw(_SPACE) + one + draw(_SPACE) for one in draw(st.lists(inner, max_size=4))]
    return "[" + ",".join(spaced) + "]" if spaced else f"[{draw(_SPACE)}]"


@st.composite
def object_of(draw: st.DrawFn, members: Sequence[tuple[str, str]]) -> str:
    """An object with these members, each a JSON string and a JSON text, in this order, with any spacing."""
    spaced = [draw(_SPACE) + key + draw(_SPACE) + ":" + draw(_SPACE) + value + draw(_SPACE) for key, value in members]
    return "{" + ",".join(spaced) + "}" if spaced else "{" + draw(_SPACE) + "}"


def _object(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(st.tuples(_KEYS, inner), max_size=5).flatmap(object_of)


values = st.recursive(_SCALARS, lambda inner: st.one_of(_array(inner), _object(inner)), max_leaves=8)
objects = st.builds(lambda before, text, after: before + text + after, _SPACE, _object(values), _SPACE)

"""Fuzz target: JSON objects, their members, edits and doubled names, against the standard library's reading.

`check` is the whole of it; atheris feeds it (see README.md), pytest feeds it in `tests/fuzz`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject
from tests.wire.plain_json import PlainMember, is_object, members_of

_UNIQUE = {"a", "model"}
_CHANGES = {"model": b'"other"', "b": b"[]", "new": b"1"}


_NAMES = ("a", "\\u0061", "b", "model", "", "\\ud83d", "\\ud83d\\ude00", "x\\\\", '\\"')
_SCALARS = ("1", "12", "-0", "1.0e+2", "1e999", '""', '"}"', '",\\"a\\":"', '"\\ude00"', '"\\\\"', "true", "null")
_SPACES = ("", "", "", " ", "\n\t")


def check(data: bytes) -> None:
    """The first byte says whether the rest is a text, or chooses what an object is made of.

    Raises: AssertionError when our reading and the standard library's differ, or an edit moves another byte.
    """
    if data[:1] >= b"\x80":
        check_text(_object(iter(data[1:]), 3).encode())
    else:
        check_text(data[1:])


def check_text(data: bytes) -> None:
    """The same for a text as it is."""
    try:
        text = data.decode()
        valid = is_object(text)
    except (UnicodeDecodeError, RecursionError):
        # We need not agree on what is no text, nor on how deep is too deep; only nothing else may be raised.
        text, valid = "", None
    try:
        found = JsonObject.parse(data)
    except NotAnObject:
        assert not valid
        return
    if valid is None:
        return
    assert valid
    members = members_of(text)
    last = {_clean(member.name): member for member in members}
    assert {name: found.raw(name) for name in found.names()} == {
        name: data[member.start : member.end] for name, member in last.items()
    }
    _check_doubled(data, members)
    _check_edit(data, found, last)


def _object(choices: Iterator[int], depth: int) -> str:
    """An object made by the choices; what they leave open is as short as can be."""
    members = []
    for _ in range(next(choices, 0) % 5):
        before, between, after = (_SPACES[next(choices, 0) % len(_SPACES)] for _ in range(3))
        name = _NAMES[next(choices, 0) % len(_NAMES)]
        members.append(f'{before}"{name}"{between}:{after}{_value(choices, depth)}')
    return "{" + ",".join(members) + _SPACES[next(choices, 0) % len(_SPACES)] + "}"


def _value(choices: Iterator[int], depth: int) -> str:
    choice = next(choices, 0)
    if choice < 200 or not depth:
        return _SCALARS[choice % len(_SCALARS)]
    if choice < 230:
        return _object(choices, depth - 1)
    return "[" + ",".join(_value(choices, depth - 1) for _ in range(next(choices, 0) % 4)) + "]"


def _check_doubled(data: bytes, members: list[PlainMember]) -> None:
    counts = Counter(_clean(member.name) for member in members)
    try:
        JsonObject.parse(data, _UNIQUE)
    except DoubledMember as doubled:
        assert counts[doubled.name] > 1  # noqa: PT017  # this is no test function
    else:
        assert all(counts[name] <= 1 for name in _UNIQUE)


def _check_edit(data: bytes, found: JsonObject, last: dict[str, PlainMember]) -> None:
    edited = found.with_members(_CHANGES)
    again = JsonObject.parse(edited)
    assert all(again.raw(name) == value for name, value in _CHANGES.items())
    expected, position = b"", 0
    places = sorted((last[name].start, last[name].end, value) for name, value in _CHANGES.items() if name in last)
    for start, end, value in places:
        expected += data[position:start] + value
        position = end
    behind = max((member.end for member in last.values()), default=data.index(b"{") + 1)
    added = b",".join(b'"' + name.encode() + b'":' + value for name, value in _CHANGES.items() if name not in last)
    assert edited == expected + data[position:behind] + (b"," if last and added else b"") + added + data[behind:]


def _clean(name: str) -> str:
    return name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

"""A JSON object of which a few members are read or set while every other byte stays as it came.

The object is decoded once, shallowly (msgspec checks the whole text but builds only the members); a walk over the
members then finds where each stands, so that an edit is a splice. Member order, spacing, big integers, float
spellings and unknown members survive, and the same edits give the same bytes every time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

_QUOTED = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SPACE = rb"[ \t\n\r]*+"
_OPENING = re.compile(_SPACE + rb"\{" + _SPACE)
_KEY = re.compile(b"(" + _QUOTED + b")" + _SPACE + b":" + _SPACE, re.DOTALL)
_AFTER_VALUE = re.compile(_SPACE + rb"([,}])" + _SPACE)
_STRING = re.compile(_QUOTED, re.DOTALL)
_SCALAR = re.compile(rb"[^,}\]\s]++")
_BRACKET_OR_STRING = re.compile(rb"[\[\]{}]|" + _QUOTED, re.DOTALL)
# A string escape, as a whole: a pair of surrogates, a surrogate without its half (group 1), or any other.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY_STRING = msgspec.json.Decoder(str)


class NotAnObject(ValueError):
    """The text is no JSON object. The message says what is wrong, without content."""


class DoubledMember(ValueError):
    """A member that is read or set here stands twice: two parsers could disagree about it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"duplicate key: {name}")
        self.name = name


class Member(msgspec.Struct, frozen=True, order=True):
    """Where one member of an object stands: the offset of its key's opening quote, and its value's [start, end)."""

    key: int
    start: int
    end: int


class JsonObject:
    """An object's text and the places of its members. Immutable: edits return the new text."""

    __slots__ = ("_end", "_members", "text")

    def __init__(self, text: bytes, members: Mapping[str, Member], end: int) -> None:
        self.text = text
        self._members = members
        self._end = end  # where a further member goes: after the last value, or after the opening brace

    @classmethod
    def parse(cls, text: bytes, unique: Collection[str] = ()) -> JsonObject:
        """The object in `text`. Members named in `unique` may stand only once; of others the last one counts.

        Raises: NotAnObject, DoubledMember.
        """
        readable = text
        try:
            try:
                values = _MEMBERS.decode(text)
            except msgspec.DecodeError:
                # JSON's grammar allows half of a surrogate pair (clients that cut text write it); msgspec does not.
                readable = with_whole_surrogates(text)
                if readable is text:
                    raise
                values = _MEMBERS.decode(readable)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotAnObject(_why(text, error)) from None
        members = _places(readable, values)
        if members is None:
            members = _places_one_by_one(readable, unique)
            end = max((member.end for member in members.values()), default=0)
        else:  # in the order in which they stand
            end = next(reversed(members.values())).end if members else 0
        return cls(text, members, end or text.index(b"{") + 1)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def names(self) -> Collection[str]:
        return self._members.keys()

    def raw(self, name: str) -> bytes | None:
        """The text of a member's value, or None without such a member."""
        member = self._members.get(name)
        return None if member is None else self.text[member.start : member.end]

    def string(self, name: str) -> str | None:
        """A member's value when it is a string, else None.

        Raises: msgspec.DecodeError for half a surrogate pair, UnicodeDecodeError for bytes that are no UTF-8.
        """
        raw = self.raw(name)
        if raw is None or raw[:1] != b'"':
            return None
        return _ANY_STRING.decode(raw)

    def is_true(self, name: str) -> bool:
        return self.raw(name) == b"true"

    def with_members(self, changes: Mapping[str, bytes]) -> bytes:
        """The text with these values: set where the member stands, else added at the end in the given order."""
        text, position = self.text, 0
        pieces: list[bytes] = []
        for member, value in sorted((self._members[n], v) for n, v in changes.items() if n in self._members):
            pieces += (text[position : member.start], value)
            position = member.end
        pieces.append(text[position : self._end])
        comma = b"," if self._members else b""
        for name, value in changes.items():
            if name not in self._members:
                pieces += (comma, msgspec.json.encode(name), b":", value)
                comma = b","
        pieces.append(text[self._end :])
        return b"".join(pieces)

    def without(self, *names: str) -> bytes:
        """The text without these members, each with the comma that follows it (or, for the last member, precedes it)."""
        text, position = self.text, 0
        pieces: list[bytes] = []
        for member in sorted(self._members[name] for name in names if name in self._members):
            pieces.append(text[position : member.key])
            position = member.end
            after = _AFTER_VALUE.match(text, position)
            if after is not None and after[1] == b",":
                position = after.end()
            else:
                pieces = [b"".join(pieces).rstrip(b" \t\n\r").removesuffix(b",")]
        return b"".join([*pieces, text[position:]]) if position else text


def outermost(text: bytes) -> dict[str, bytes]:
    """The members of an object, each as its text, as far as they can be told apart: `text` may be nested too deeply to
    be decoded, or no JSON at all, and then what is found is no more than likely.
    """
    try:
        members = _places_one_by_one(text, ())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return {name: text[member.start : member.end] for name, member in members.items()}


def with_whole_surrogates(text: bytes) -> bytes:
    """JSON text with U+FFFD for every half of a surrogate pair. Nothing moves: both escapes take six bytes."""
    if rb"\ud" not in text and rb"\uD" not in text:
        return text
    return _ESCAPE.sub(lambda found: rb"\ufffd" if found[1] else found[0], text)


def _places(text: bytes, values: Mapping[str, msgspec.Raw]) -> dict[str, Member] | None:
    """Where the members stand, found with their values' help. None when one stands twice.

    A value that the text has at its place is as long there (what follows decides about numbers), so the walk stays
    on the members, one for each value. A member that stands twice has one value here: either some value is not what
    the text has at its place, or members are left over. When neither is so, names and members are in the same order.
    """
    found = _OPENING.match(text)
    members: dict[str, Member] = {}
    for name, value in values.items():
        key = _KEY.match(text, found.end()) if found else None
        if key is None:
            return None
        start = key.end()
        copied = bytes(value)  # a copy compares twenty times faster than a view of it does
        found = _AFTER_VALUE.match(text, start + len(copied))
        if found is None or not text.startswith(copied, start):
            return None
        members[name] = Member(key.start(), start, start + len(copied))
    if values and found is not None and found[1] != b"}":
        return None
    return members


def _places_one_by_one(text: bytes, unique: Collection[str]) -> dict[str, Member]:
    """The slow way, for objects in which some member stands twice. The text is known to be valid."""
    members: dict[str, Member] = {}
    found = _OPENING.match(text)
    while found is not None and (key := _KEY.match(text, found.end())) is not None:
        name = _ANY_STRING.decode(key[1])
        if name in members and name in unique:
            raise DoubledMember(name)
        end = _end_of_value(text, key.end())
        members[name] = Member(key.start(), key.end(), end)
        found = _AFTER_VALUE.match(text, end)
    return members


def _end_of_value(text: bytes, start: int) -> int:
    if text[start : start + 1] not in (b"{", b"["):
        scalar = (_STRING if text[start : start + 1] == b'"' else _SCALAR).match(text, start)
        return scalar.end() if scalar else start
    depth = 0
    for found in _BRACKET_OR_STRING.finditer(text, start):
        token = text[found.start()]
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
            if depth == 0:
                return found.end()
    return len(text)


def _why(text: bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "the JSON is nested too deeply"
    if not text.strip():
        return "the body is empty"
    if isinstance(error, msgspec.ValidationError):
        return "the body must be a JSON object"
    return "the body is not valid JSON"

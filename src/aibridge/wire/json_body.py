"""A JSON object of which a few members are read or set while every other byte stays as it came.

The object is decoded once, shallowly (msgspec checks the whole text but builds only the members); a walk over the
members then finds where each stands, so that an edit is a splice. Member order, spacing, big integers, float
spellings and unknown members survive, and the same edits give the same bytes every time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import msgspec

_SPACE = re.compile(rb"[ \t\n\r]*")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY_STRING = msgspec.json.Decoder(str)


class NotAnObject(ValueError):
    """The text is no JSON object. The message says what is wrong, without content."""


class DoubledMember(ValueError):
    """A member that is read or set here stands twice: two parsers could disagree about it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"duplicate key: {name}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Member:
    """Where one member of an object stands: `key` is the offset of its opening quote, the value is [start, end)."""

    key: int
    start: int
    end: int


class JsonObject:
    """An object's text and the places of its members. Immutable: edits return the new text."""

    __slots__ = ("_close", "_members", "text")

    def __init__(self, text: bytes, members: Mapping[str, Member], close: int) -> None:
        self.text = text
        self._members = members
        self._close = close  # offset of the closing brace

    @classmethod
    def parse(cls, text: bytes, unique: Collection[str] = ()) -> JsonObject:
        """The object in `text`. Members named in `unique` may stand only once; of others the last one counts.

        Raises: NotAnObject, DoubledMember.
        """
        try:
            values = _MEMBERS.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NotAnObject(_why(text, error)) from None
        members: dict[str, Member] = {}
        close = -1
        names = iter(values.items())
        for name, key, start, end in _walk(text, names, len(values)):
            if end < 0:
                return cls._parse_doubled(text, unique)
            if name is None:
                close = start
                break
            members[name] = Member(key, start, end)
        return cls(text, members, close)

    @classmethod
    def _parse_doubled(cls, text: bytes, unique: Collection[str]) -> JsonObject:
        """The slow way, for objects in which some member stands twice."""
        members: dict[str, Member] = {}
        close = -1
        for name, key, start, end in _scan(text):
            if name is None:
                close = start
                break
            if name in members and name in unique:
                raise DoubledMember(name)
            members[name] = Member(key, start, end)
        return cls(text, members, close)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def names(self) -> Collection[str]:
        return self._members.keys()

    def raw(self, name: str) -> bytes | None:
        """The text of a member's value, or None without such a member."""
        member = self._members.get(name)
        return None if member is None else self.text[member.start : member.end]

    def string(self, name: str) -> str | None:
        """A member's value when it is a string, else None."""
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
        present = sorted((self._members[n], v) for n, v in changes.items() if n in self._members)
        for member, value in present:
            pieces += (text[position : member.start], value)
            position = member.end
        pieces.append(
            text[position : self._close].rstrip(b" \t\n\r") if len(present) < len(changes) else text[position:]
        )
        if len(present) == len(changes):
            return b"".join(pieces)
        empty = not self._members
        for name, value in changes.items():
            if name not in self._members:
                pieces.append((b"" if empty else b",") + msgspec.json.encode(name) + b":" + value)
                empty = False
        tail = len(text[: self._close].rstrip(b" \t\n\r"))
        pieces.append(text[tail:])
        return b"".join(pieces)


def _walk(
    text: bytes, names: Iterator[tuple[str, msgspec.Raw]], count: int
) -> Iterator[tuple[str | None, int, int, int]]:
    """Each member as (name, key, start, end), then (None, close, close, close).

    `end` is -1 when text and members do not run in parallel, which is so exactly when a member stands twice.
    """
    at = _after_space(text, 0) + 1
    for number in range(count):
        at = _after_space(text, at)
        if number:
            at = _after_space(text, at + 1)  # the comma
        name, value = next(names)
        quoted = _STRING.match(text, at)
        if quoted is None or not _is_name(quoted.group(), name):
            yield name, at, at, -1
            return
        start = _after_space(text, _after_space(text, quoted.end()) + 1)
        copied = bytes(value)  # a copy compares twenty times faster than a view of it does
        end = start + len(copied)
        after = _after_space(text, end)
        # A value is self-delimiting, but for numbers; what follows it decides those.
        if text[after : after + 1] not in (b",", b"}") or not text.startswith(copied, start):
            yield name, at, start, -1
            return
        yield name, at, start, end
        at = after
    at = _after_space(text, at)
    if text[at : at + 1] != b"}":
        yield None, at, at, -1
        return
    yield None, at, at, at


def _scan(text: bytes) -> Iterator[tuple[str | None, int, int, int]]:
    """The same for an object known to be valid JSON, without help. Bytes are looked at as Latin-1 text: offsets stay."""
    letters = text.decode("latin-1")
    decoder = json.JSONDecoder()
    at = _after_space(text, _after_space(text, 0) + 1)
    while text[at : at + 1] == b'"':
        key = at
        quoted = _STRING.match(text, at)
        assert quoted is not None  # valid JSON
        start = _after_space(text, _after_space(text, quoted.end()) + 1)
        end = decoder.raw_decode(letters, start)[1]
        yield _ANY_STRING.decode(quoted.group()), key, start, end
        at = _after_space(text, end)
        if text[at : at + 1] == b",":
            at = _after_space(text, at + 1)
    yield None, at, at, at


def _is_name(quoted: bytes, name: str) -> bool:
    if b"\\" not in quoted:
        return quoted[1:-1] == name.encode("utf-8", "surrogatepass")
    return _ANY_STRING.decode(quoted) == name


def _after_space(text: bytes, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _why(text: bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "the JSON is nested too deeply"
    if not text.strip():
        return "the body is empty"
    if isinstance(error, msgspec.ValidationError):
        return "the body must be a JSON object"
    return "the body is not valid JSON"

"""A JSON array into which elements are put, or out of which they are cut, while every other byte stays as it came.

The array is decoded once, shallowly; what the elements are is the business of others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

from aibridge.wire.json_body import with_whole_surrogates

_OPENING = re.compile(rb"[ \t\n\r]*+\[[ \t\n\r]*+")
_BETWEEN = re.compile(rb"[ \t\n\r]*+,[ \t\n\r]*+")
_SPACES = b" \t\n\r"
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


class JsonArray:
    """An array's text and the places of its elements. Immutable: edits return the new text."""

    __slots__ = ("_spans", "_start", "text")

    def __init__(self, text: bytes, start: int, spans: list[tuple[int, int]]) -> None:
        self.text = text
        self._start = start  # where a first element goes
        self._spans = spans

    @classmethod
    def parse(cls, text: bytes) -> JsonArray | None:
        """The array in `text`; None when it is none."""
        try:
            try:
                elements = _ELEMENTS.decode(text)
            except msgspec.DecodeError:
                # Half of a surrogate pair, which JSON allows: the replacement is as long.
                elements = _ELEMENTS.decode(with_whole_surrogates(text))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        opening = _OPENING.match(text)
        if opening is None:
            return None
        spans: list[tuple[int, int]] = []
        position = opening.end()
        for element in elements:
            if spans and (between := _BETWEEN.match(text, position)) is not None:
                position = between.end()
            end = position + len(bytes(element))
            spans.append((position, end))
            position = end
        return cls(text, opening.end(), spans)

    def __len__(self) -> int:
        return len(self._spans)

    def elements(self) -> list[bytes]:
        return [self.text[start:end] for start, end in self._spans]

    def inserting(self, further: Mapping[int, bytes], instead: Mapping[int, bytes] | None = None) -> bytes:
        """The text with further elements (one, or several with commas between) before those of these numbers.

        The number behind the last element is the end of the array. `instead`: what stands in an element's place.
        """
        replaced = instead or {}
        pieces: list[bytes] = []
        position = 0
        for number in sorted({*further, *replaced}):
            if number >= len(self._spans):
                start = self._spans[-1][1] if self._spans else self._start
                comma = b"," if self._spans else b""
                pieces += (self.text[position:start], comma, further[number])
                position = start
                continue
            start, end = self._spans[number]
            pieces.append(self.text[position:start])
            if number in further:
                pieces += (further[number], b",")
            position = start
            if number in replaced:
                pieces.append(replaced[number])
                position = end
        return b"".join((*pieces, self.text[position:]))

    def replacing(self, others: Mapping[int, bytes]) -> bytes:
        """The text with other elements (one, or several with commas between) in place of those of these numbers."""
        pieces: list[bytes] = []
        position = 0
        for number in sorted(others):
            start, end = self._spans[number]
            pieces += (self.text[position:start], others[number])
            position = end
        return b"".join((*pieces, self.text[position:]))

    def without(self, numbers: Collection[int]) -> bytes:
        """The text without these elements, each with the comma before it (or, at the beginning, behind it)."""
        if not any(0 <= number < len(self._spans) for number in numbers):
            return self.text
        text, spans = self.text, self._spans
        pieces = [text[: spans[0][0]]]
        for number, (start, end) in enumerate(spans):
            if number not in numbers:
                if len(pieces) > 1:
                    pieces.append(text[spans[number - 1][1] : start])
                pieces.append(text[start:end])
        return b"".join((*pieces, text[spans[-1][1] :]))


def with_first(array: bytes, further: bytes) -> bytes | None:
    """An array's text with further elements (commas between) before its own; None for another value.

    `array` is known to be whole JSON, as a member's value is: it is not read again, however long it is.
    """
    opening = _OPENING.match(array)
    if opening is None:
        return None
    start = opening.end()
    return b"".join((array[:start], further, b"" if array.startswith(b"]", start) else b",", array[start:]))


def with_last(array: bytes, further: bytes) -> bytes | None:
    """The same with further elements behind its own."""
    opening = _OPENING.match(array)
    if opening is None:
        return None
    before = array.rstrip(_SPACES)[:-1].rstrip(_SPACES)
    end = max(len(before), opening.end())
    return b"".join((array[:end], further if end == opening.end() else b"," + further, array[end:]))

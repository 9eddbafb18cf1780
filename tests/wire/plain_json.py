"""JSON objects read the plain and slow way, with the standard library: what the quick reader is compared with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_SPACE = " \t\n\r"


@dataclass(frozen=True, slots=True)
class PlainMember:
    """One member as it stands: the place of its value, in bytes."""

    name: str
    start: int
    end: int


def is_object(text: str) -> bool:
    """The text is JSON by the grammar, and an object. NaN and the like are no JSON; any number is."""
    try:
        found = json.loads(text, parse_int=str, parse_float=str, parse_constant=_refused)
    except ValueError:
        return False
    return isinstance(found, dict)


def members_of(text: str) -> list[PlainMember]:
    """All members of an object in order, those that stand twice too. `text` must be an object."""
    decoder = json.JSONDecoder(parse_int=str, parse_float=str)
    found: list[PlainMember] = []
    at = _after_space(text, _after_space(text, 0) + 1)
    while text[at] != "}":
        name, at = decoder.raw_decode(text, at)
        start = _after_space(text, _after_space(text, at) + 1)
        _, end = decoder.raw_decode(text, start)
        found.append(PlainMember(name, len(text[:start].encode()), len(text[:end].encode())))
        at = _after_space(text, end)
        if text[at] == ",":
            at = _after_space(text, at + 1)
    return found


def pairs_of(text: str | bytes) -> Any:
    """The text with objects as lists of pairs and numbers as they are written."""
    return json.loads(text, parse_int=str, parse_float=str, object_pairs_hook=lambda pairs: ("object", pairs))


def _after_space(text: str, at: int) -> int:
    while text[at] in _SPACE:
        at += 1
    return at


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")

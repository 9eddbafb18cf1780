"""Small readings that the dialects have in common. Pure, tolerant of what providers really send."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from aibridge.errors import InvalidRequest
from aibridge.records import JsonValue
from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject, with_whole_surrogates

MAX_KEPT = 16 * 1024 * 1024
"""How much content (thoughts, arguments) one reply keeps for the record, in bytes."""

_ANY = msgspec.json.Decoder()


class Kept:
    """Texts that grow piece by piece while a stream runs, bounded together. What is too much is not kept."""

    __slots__ = ("_left", "_texts")

    def __init__(self, limit: int = MAX_KEPT) -> None:
        self._left = limit
        # As UTF-8: a list of pieces takes ten times as much, and many streams think at once.
        self._texts: dict[object, bytearray] = {}

    def add(self, key: object, piece: str) -> None:
        if not piece or self._left <= 0:
            return
        encoded = piece.encode("utf-8", "replace")[: self._left]
        self._left -= len(encoded)
        text = self._texts.get(key)
        if text is None:
            self._texts[key] = bytearray(encoded)
        else:
            text += encoded

    def take(self, key: object) -> str:
        """The text under `key`, which is forgotten."""
        return self._texts.pop(key, b"").decode("utf-8", "ignore")  # the limit may have cut the last letter


def request_object(body: bytes, unique: Collection[str]) -> JsonObject:
    """A client's body as an object with a model. Raises: InvalidRequest."""
    found = body_object(body, unique)
    if not string_member(found, "model"):
        raise InvalidRequest("model: a non-empty string is required")
    return found


def body_object(body: bytes, unique: Collection[str]) -> JsonObject:
    """A client's body as an object (see `JsonObject.parse`). Raises: InvalidRequest."""
    try:
        return JsonObject.parse(body, unique)
    except (NotAnObject, DoubledMember) as error:
        raise InvalidRequest(str(error)) from None


def string_member(found: JsonObject, name: str) -> str | None:
    """A member that is a string. Raises: InvalidRequest when its text cannot be decoded."""
    try:
        return found.string(name)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest(f"{name}: the string is not valid Unicode") from None


def said_in(found: JsonObject, name: str) -> str | None:
    """A member that is a string, read as far as it goes (see `decoded`)."""
    raw = found.raw(name)
    return text(decoded(raw)) if raw is not None and raw[:1] == b'"' else None


def reads_as_true(raw: bytes | None) -> bool:
    """Whether a member's value is `true`, or what a provider that is not strict may take for it (1, "yes").

    What Pydantic takes for false is false (https://docs.pydantic.dev/latest/concepts/conversion_table/).
    """
    if raw == b"true":
        return True
    if raw in (None, b"false", b"null"):
        return False
    value = decoded(raw)
    return value.lower() not in _FALSE if isinstance(value, str) else isinstance(value, (int, float)) and value != 0


_FALSE = frozenset({"", "0", "f", "false", "n", "no", "off"})


def decoded(raw: bytes | None) -> Any:
    """JSON as Python values; None when it cannot be read at all.

    What the quick decoder refuses but a provider may well take is read as far as it goes: half a surrogate pair
    and a byte that is no UTF-8 become U+FFFD, a number that no float or integer of ours holds stays text.
    """
    if raw is None:
        return None
    try:
        return _ANY.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _decoded_tolerantly(raw)
    except (ValueError, RecursionError):
        return None


def elements(raw: bytes | None) -> list[msgspec.Raw]:
    """The elements of a JSON array, undecoded; none when it is no array."""
    if raw is None:
        return []
    try:
        return _ELEMENTS.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        return _ELEMENTS.decode(with_whole_surrogates(raw))
    except (msgspec.DecodeError, RecursionError):
        return []


_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


def text(value: object) -> str:
    """A string as it is; "" for anything else."""
    return value if isinstance(value, str) else ""


def mapping(value: object) -> dict[str, Any]:
    """An object as it is; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def tool_input(arguments: str) -> JsonValue:
    """A call's arguments: parsed; None when blank; the text itself when it is no JSON."""
    if not arguments.strip():
        return None
    value: JsonValue
    try:
        value = _ANY.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    else:
        return value
    try:
        value = _decoded_tolerantly(arguments.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return arguments
    return value


def _decoded_tolerantly(raw: bytes, **options: Any) -> Any:
    whole = with_whole_surrogates(raw).decode("utf-8", "replace")
    return json.loads(whole, parse_int=_integer, parse_float=_float, parse_constant=_no_constant, **options)


def _integer(digits: str) -> int | str:
    # Python refuses to convert longer ones (sys.set_int_max_str_digits), with good reason.
    return int(digits) if len(digits) <= 4300 else digits


def _float(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) else digits


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def count(value: object) -> int:
    """A token count as providers send it: anything but a positive number is 0."""
    if type(value) is int and 0 <= value <= _MOST:
        return value  # nearly always
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return min(max(0, int(value)), _MOST)


_MOST = 2**63 - 1  # what an integer column holds


def referenced_ids(body: bytes, names: Collection[str], opaque: Collection[str]) -> tuple[str, ...]:
    """The strings under members called `names` anywhere in a JSON text, but not inside members called `opaque`.

    A string, a list of strings and an object with an `id` all count, and a member that stands twice counts twice:
    which one a provider takes is not ours to guess. Nearly all bodies hold no such name: those are not decoded. A
    name could be written with escapes, so a body with escaped letters is. Raises: InvalidRequest.
    """
    if not _ESCAPED_LETTER.search(body) and not any(b'"' + name.encode() + b'"' in body for name in names):
        return ()
    found: dict[str, None] = {}
    try:
        waiting: list[tuple[str, Any]] = [("", _decoded_tolerantly(body, object_pairs_hook=tuple))]
    except (ValueError, RecursionError):
        # What cannot be read cannot be checked.
        raise InvalidRequest("the body is not valid JSON") from None
    while waiting:
        name, value = waiting.pop()
        if name in names:
            found.update(dict.fromkeys(_ids(value)))
        if isinstance(value, list):
            waiting.extend(("", one) for one in reversed(value))
        elif isinstance(value, tuple):  # an object, as pairs
            waiting.extend(pair for pair in reversed(value) if pair[0] not in opaque)
    return tuple(found)


_ESCAPED_LETTER = re.compile(rb"\\u00[4-7]")


def _ids(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))
    elif isinstance(value, tuple):
        yield from (one for name, one in value if name == "id" and isinstance(one, str))

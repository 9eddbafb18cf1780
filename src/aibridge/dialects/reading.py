"""Small readings that the dialects have in common. Pure, tolerant of what providers really send."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from aibridge.errors import InvalidRequest
from aibridge.records import JsonValue
from aibridge.wire.json_body import DoubledMember, JsonObject, NotAnObject

MAX_KEPT = 16 * 1024 * 1024
"""How much content (thoughts, arguments) one reply keeps for the record, in characters."""

_ANY = msgspec.json.Decoder()


class Kept:
    """Texts that grow piece by piece while a stream runs, bounded together. What is too much is not kept."""

    __slots__ = ("_left", "_pieces")

    def __init__(self, limit: int = MAX_KEPT) -> None:
        self._left = limit
        self._pieces: dict[object, list[str]] = {}

    def add(self, key: object, piece: str) -> None:
        if not piece or self._left <= 0:
            return
        piece = piece[: self._left]
        self._left -= len(piece)
        self._pieces.setdefault(key, []).append(piece)

    def take(self, key: object) -> str:
        """The text under `key`, which is forgotten."""
        return "".join(self._pieces.pop(key, ()))


def request_object(body: bytes, unique: Collection[str]) -> JsonObject:
    """A client's body as an object with a model. Raises: InvalidRequest."""
    try:
        found = JsonObject.parse(body, unique)
    except (NotAnObject, DoubledMember) as error:
        raise InvalidRequest(str(error)) from None
    if not string_member(found, "model"):
        raise InvalidRequest("model: a non-empty string is required")
    return found


def string_member(found: JsonObject, name: str) -> str | None:
    """A member that is a string. Raises: InvalidRequest when its text cannot be decoded."""
    try:
        return found.string(name)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest(f"{name}: the string is not valid Unicode") from None


def decoded(raw: bytes | None) -> Any:
    """JSON as Python values; None also for text that cannot be decoded (a lone surrogate, for example)."""
    if raw is None:
        return None
    try:
        return _ANY.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def elements(raw: bytes | None) -> list[msgspec.Raw]:
    """The elements of a JSON array, undecoded; none when it is no array."""
    try:
        return _ELEMENTS.decode(raw) if raw is not None else []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []


_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])


def tool_input(text: str) -> JsonValue:
    """A call's arguments: parsed; None when blank; the text itself when it is no JSON."""
    if not text.strip():
        return None
    try:
        value: JsonValue = _ANY.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text
    return value


def count(value: object) -> int:
    """A token count as providers send it: anything but a positive number is 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return max(0, int(value))


def referenced_ids(body: bytes, names: Collection[str], opaque: Collection[str]) -> tuple[str, ...]:
    """The strings under members called `names` anywhere in a JSON text, but not inside members called `opaque`.

    A string, a list of strings and an object with an `id` all count. Nearly all bodies hold no such name: those
    are not decoded. A name could be written with escapes, so a body with escaped ASCII is.
    """
    if b"\\u00" not in body and not any(b'"' + name.encode() + b'"' in body for name in names):
        return ()
    found: dict[str, None] = {}
    waiting: list[Any] = [decoded(body)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(reversed(value))
        elif isinstance(value, dict):
            for name, inner in reversed(value.items()):
                if name in opaque:
                    continue
                if name in names:
                    found.update(dict.fromkeys(_ids(inner)))
                waiting.append(inner)
    return tuple(found)


def _ids(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        yield from (one for one in value if isinstance(one, str))
    elif isinstance(value, dict) and isinstance(value.get("id"), str):
        yield value["id"]

r"""Text as it can be kept: no NUL, no lone surrogates, no longer than allowed. What was valid and short is unchanged.

PostgreSQL takes no NUL in text (and no `\u0000` in jsonb), and neither database takes text that is not UTF-8.
"""

from __future__ import annotations

import json

import msgspec

from aibridge.records import JsonValue

NAME_LIMIT = 512  # characters of a string that a client or provider chose: a model, a tool, a user agent
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_encoder = msgspec.json.Encoder()


def clean(text: str) -> str:
    """`text` with NUL and lone surrogates replaced; surrogates that make a pair become their character."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", _REPLACEMENT) if "\0" in text else text


def name(text: str | None) -> str | None:
    """A short string of somebody else's choosing."""
    return None if text is None else clean(text[:NAME_LIMIT])


def cut(text: str, limit: int) -> str:
    """`text` in at most `limit` bytes of UTF-8: whole characters, and a marker that says how long it was."""
    if len(text) * 4 <= limit or (text.isascii() and len(text) <= limit):
        return text
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    marker = f" [cut: {len(encoded)} bytes]"
    return encoded[: max(0, limit - len(marker))].decode(errors="ignore") + marker[: max(0, limit)]


def json_of(value: JsonValue) -> str:
    """`value` as JSON that both databases take."""
    try:
        text = _encoder.encode(value).decode()
    except (OverflowError, UnicodeEncodeError, RecursionError, TypeError):
        # A whole number of more than 64 bits, a lone surrogate, or something deep or foreign.
        return _json_of_anything(value)
    return text if "\\u0000" not in text else _encoder.encode(_cleaned(value)).decode()


def _json_of_anything(value: JsonValue) -> str:
    try:
        return json.dumps(_cleaned(value), ensure_ascii=False, separators=(",", ":"))
    except (RecursionError, TypeError, ValueError):
        return json.dumps(f"[not kept: {type(value).__name__} that is no JSON]")


def _cleaned(value: JsonValue) -> JsonValue:
    match value:
        case str():
            return clean(value)
        case list():
            return [_cleaned(item) for item in value]
        case dict():
            return {clean(key): _cleaned(item) for key, item in value.items()}
        case _:
            return value

"""Decode what clients and providers really send, also where our decoder is stricter than they are."""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

from aibridge.dialects.reading import decoded

T = TypeVar("T")


def read(decoder: msgspec.json.Decoder[T], raw: bytes) -> T | None:
    """The value in a JSON text; None when it is none of the decoder's kind, or cannot be read at all.

    The slow way, for half a surrogate pair or a number that no float holds, gives the same with replacements.
    """
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    value = decoded(bytes(raw))
    try:
        return decoder.decode(json.dumps(value)) if value is not None else None
    except (msgspec.DecodeError, RecursionError):
        return None

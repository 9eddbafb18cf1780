"""Keys of our own shape in what a client sent: found for signing in, and taken out of everything that goes on.

Live or dead, no provider gets to see one. The shape is sure (see `key_format`), so that nothing else is cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import unquote_to_bytes

from aibridge.errors import Header
from aibridge.server.auth import key_format

_MARK = b"aib_"
NOTHING = (b"", b"bearer", b"basic")
"""What is left of a header that held a credential of ours and nothing else."""
_CANDIDATE = re.compile(rb"aib_[0-9a-f]{32}_[0-9A-Za-z]{49}")


def without_keys(headers: Sequence[Header], dropped: frozenset[bytes]) -> list[Header]:
    """The headers but those named in `dropped` (lower case), with every key of ours cut out of the others."""
    others = [header for header in headers if header[0].lower() not in dropped]
    if _MARK not in b"\n".join([value for _, value in others]):
        return others  # nearly always
    kept: list[Header] = []
    for header in others:
        name, value = header
        if _MARK not in value:
            kept.append(header)
        elif (rest := cut(value).strip()).lower() not in NOTHING:
            kept.append((name, rest))
    return kept


def query_without_keys(query: bytes) -> bytes:
    """The raw query string without the parameters that hold a key of ours, percent-encoded or not."""
    return query_without(query, _MARK, _holds_key)


def path_holds_key(raw_path: bytes) -> bool:
    """Whether a key of ours stands in a path, percent-encoded or not. Nothing can be cut out of one."""
    return is_encoded_in(raw_path, _MARK, _holds_key)


def query_without(query: bytes, mark: bytes, holds: Callable[[bytes], bool]) -> bytes:
    """A raw query string without the parameters that hold something. `mark` is in each such thing."""
    if mark not in query and b"%" not in query:
        return query
    parts = query.split(b"&")
    kept = [part for part in parts if not holds(unquote_to_bytes(part))]
    return query if len(kept) == len(parts) else b"&".join(kept)


def is_encoded_in(text: bytes, mark: bytes, holds: Callable[[bytes], bool]) -> bool:
    """Whether percent-encoded text holds something. `mark` is in each such thing."""
    return (mark in text or b"%" in text) and holds(unquote_to_bytes(text))


def cut(text: bytes) -> bytes:
    """The text with a space in the place of every key of ours."""
    return _CANDIDATE.sub(_unless_ours, text) if _MARK in text else text


def _unless_ours(found: re.Match[bytes]) -> bytes:
    # A space in its place: what stood around a key must not make another one.
    return b" " if key_format.looks_like_ours(found[0].decode("ascii")) else found[0]


def _holds_key(text: bytes) -> bool:
    return any(key_format.looks_like_ours(found.decode("ascii")) for found in _CANDIDATE.findall(text))

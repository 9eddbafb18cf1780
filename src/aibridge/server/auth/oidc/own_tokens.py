"""Tokens of our issuer in what a client sent: taken out of everything that goes on, live or dead.

Tokens of other issuers stay where they are: they may be the caller's own, for the provider.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from aibridge.errors import Header
from aibridge.server.auth.oidc.tokens import presented

_MARK = b"eyJ"  # `{"` in base64
_NOTHING = (b"", b"bearer", b"basic")
_CANDIDATE = re.compile(rb"eyJ[A-Za-z0-9_-]*\.eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+")


class OwnTokens:
    """Those that say that they are of this issuer."""

    __slots__ = ("_issuer",)

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def without(self, headers: Sequence[Header]) -> list[Header]:
        """The headers with every such token cut out of them."""
        kept: list[Header] = []
        for header in headers:
            if _MARK not in header[1] or (cut := self.cut(header[1])) == header[1]:
                kept.append(header)
            elif (rest := cut.strip()).lower() not in _NOTHING:
                kept.append((header[0], rest))
        return kept

    def query_without(self, query: bytes) -> bytes:
        """The raw query string without the parameters that hold one."""
        if _MARK not in query and b"%" not in query:
            return query
        parts = query.split(b"&")
        kept = [part for part in parts if not self._is_in(unquote_to_bytes(part))]
        return query if len(kept) == len(parts) else b"&".join(kept)

    def is_in_path(self, raw_path: bytes) -> bool:
        return (_MARK in raw_path or b"%" in raw_path) and self._is_in(unquote_to_bytes(raw_path))

    def cut(self, text: bytes) -> bytes:
        """The text with a space in the place of each."""
        return _CANDIDATE.sub(lambda found: b" " if self._is_ours(found[0]) else found[0], text)

    def _is_in(self, text: bytes) -> bool:
        return any(self._is_ours(found) for found in _CANDIDATE.findall(text))

    def _is_ours(self, candidate: bytes) -> bool:
        token = presented(candidate.decode("ascii"))
        return token is not None and token.issuer == self._issuer

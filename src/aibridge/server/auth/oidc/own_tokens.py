"""Tokens of our issuer in what a client sent: taken out of everything that goes on, live or dead.

Tokens of other issuers stay where they are: they may be the caller's own, for the provider.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aibridge.errors import Header
from aibridge.server.auth import own_keys
from aibridge.server.auth.oidc.tokens import presented

_MARK = b"eyJ"  # `{"` in base64
_SHORTEST = 15  # of a first part: `{"alg":"a"}`
# Three or more parts of letters with dots between them. It begins with a part and gives nothing back, so that what is no
# token is read once: paths are looked at before anybody has signed in.
_PARTS = re.compile(rb"(?<![A-Za-z0-9_-])[A-Za-z0-9_-]++(?:\.[A-Za-z0-9_-]++){2,}+")


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
            elif (rest := cut.strip()).lower() not in own_keys.NOTHING:
                kept.append((header[0], rest))
        return kept

    def query_without(self, query: bytes) -> bytes:
        """The raw query string without the parameters that hold one."""
        return own_keys.query_without(query, _MARK, self._is_in)

    def is_in_path(self, raw_path: bytes) -> bool:
        return own_keys.is_encoded_in(raw_path, _MARK, self._is_in)

    def cut(self, text: bytes) -> bytes:
        """The text with a space in the place of each."""
        kept, at = [], 0
        for begin, end in self._found(text):
            kept.append(text[at:begin])
            at = end
        return b" ".join([*kept, text[at:]])

    def _is_in(self, text: bytes) -> bool:
        return next(self._found(text), None) is not None

    def _found(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Where each begins and ends."""
        for run in _PARTS.finditer(text) if _MARK in text else ():
            parts, begin, past = run[0].split(b"."), run.start(), 0
            for first, second, third in zip(parts, parts[1:], parts[2:], strict=False):
                head = first.find(_MARK)
                end = begin + len(first) + len(second) + len(third) + 2
                if (
                    0 <= head <= len(first) - _SHORTEST
                    and begin >= past
                    and self._is_ours(b".".join((first[head:], second, third)))
                ):
                    yield begin + head, end
                    past = end
                begin += len(first) + 1

    def _is_ours(self, candidate: bytes) -> bool:
        token = presented(candidate.decode("ascii"))
        return token is not None and token.issuer == self._issuer

"""The hot path of chat streams: chunks that differ from one that was decoded only in a piece of text.

A chunk is cut at its first `"content":` followed by a string. When what stands before and behind that string is, byte
for byte, what stood around it in a chunk that was decoded and told nothing but text, then this one tells nothing
else either, and needs no decoding. OpenAI's `obfuscation` is random by design and is looked over.
"""

from __future__ import annotations

import re

_CONTENT = b'"content":'
_OBFUSCATION = b',"obfuscation":"'
# A whole JSON string: raw line ends, bad escapes and the like make it something to decode (and to complain about).
_STRING = re.compile(rb' ?"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"').match
_REST_OF_OBFUSCATION = re.compile(rb'[A-Za-z0-9+/=_-]*+"\}[\r\n]*+').fullmatch
# Servers that count or date every chunk make each one look new. What is known of old ones is worth nothing then.
_MAX_KNOWN = 32
_MAX_AROUND = 8 * 1024  # bytes; OpenAI's take some 300


class PlainChunks:
    """What stands around the text in chunks that tell nothing else, and what the client gets in its place."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes], tuple[bytes, bytes] | None] = {}  # None: the same

    def shown(self, block: bytes) -> bytes | None:
        """What the client gets for a plain chunk; None for one that has to be read."""
        head, _, tail = block.partition(_CONTENT)
        string = _STRING(tail)
        if string is None:
            return None
        end = string.end()
        foot, mark, noise = tail[end:].partition(_OBFUSCATION)
        if mark and _REST_OF_OBFUSCATION(noise) is None:
            return None
        try:
            around = self._known[head, foot]
        except KeyError:
            return None
        if around is None:
            return block
        return b"".join((around[0], _CONTENT, tail[:end], around[1], mark, noise))

    def learn(self, block: bytes, shown: bytes) -> None:
        """From now on chunks like `block`, which is plain, need no reading; the client got `shown` for it."""
        before, after = _around(block), _around(shown)
        if before is None or after is None:
            return
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[before] = None if before == after else after


def _around(block: bytes) -> tuple[bytes, bytes] | None:
    head, _, tail = block.partition(_CONTENT)
    string = _STRING(tail)
    if string is None:
        return None
    foot, mark, noise = tail[string.end() :].partition(_OBFUSCATION)
    if len(head) + len(foot) > _MAX_AROUND or (mark and _REST_OF_OBFUSCATION(noise) is None):
        return None
    return head, foot

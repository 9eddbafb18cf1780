"""The shape of the server's own keys: `aib_<id>_<secret><crc>`. Pure: nothing here knows whether a key is alive.

The checksum tells a typing error from an unknown key, and lets scanners and scrubbers be sure that a value is ours.
"""

from __future__ import annotations

import re
import zlib

SECRET_BYTES = 32
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_LENGTH = 43  # digits that hold 256 bits
_CRC_LENGTH = 6  # digits that hold 32 bits
_SHAPE = re.compile(rf"(aib_([0-9a-f]{{32}})_[0-9A-Za-z]{{{_SECRET_LENGTH}}})([0-9A-Za-z]{{{_CRC_LENGTH}}})")


def make(key_id: str, secret: bytes) -> str:
    """The key of the id (a UUID as text) and 32 random bytes.

    Raises:
        ValueError: the id is no UUID, or the secret has another length.
    """
    if len(secret) != SECRET_BYTES or not re.fullmatch(r"[0-9a-f]{32}", key_id.replace("-", "")):
        raise ValueError("a key is made of a lower-case UUID and 32 bytes")
    body = f"aib_{key_id.replace('-', '')}_{_base62(int.from_bytes(secret), _SECRET_LENGTH)}"
    return body + _checksum(body)


def parse(value: str) -> str | None:
    """The id in a key of ours; None: it is none, or was mistyped."""
    match = _SHAPE.fullmatch(value)
    if match is None or _checksum(match[1]) != match[3]:
        return None
    digits = match[2]
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def looks_like_ours(value: str) -> bool:
    """True for every key that a server of ours has made or may make, live or dead."""
    return parse(value) is not None


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CRC_LENGTH)


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))

"""Content that is unreadable in the database: AES-256-GCM (NIST SP 800-38D) under a key derived from the server's secret.

Who copies the file without the secret reads nothing of it; with another secret what was sealed before is gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE = 12  # bytes; random ones may be used for 2^32 texts under one key (SP 800-38D section 8.3)


class Sealing:
    """A `Cipher`. `key` has 32 bytes; `nonces` gives so many random bytes as it is asked for."""

    def __init__(self, key: bytes, *, nonces: Callable[[int], bytes] = os.urandom) -> None:
        self._key = AESGCM(key)
        self._nonces = nonces

    def sealed(self, content: bytes, about: bytes) -> bytes:
        nonce = self._nonces(_NONCE)
        return _VERSION + nonce + self._key.encrypt(nonce, content, about)

    def opened(self, sealed: bytes, about: bytes) -> bytes | None:
        begin = len(_VERSION) + _NONCE
        if sealed[:1] != _VERSION or len(sealed) < begin:
            return None
        try:
            return self._key.decrypt(sealed[1:begin], sealed[begin:], about)
        except InvalidTag:
            return None

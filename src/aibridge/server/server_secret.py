"""The server's one secret, and the keys that are derived from it: one for each use, so that none opens another's door.

Losing it makes every gateway key invalid, and changing it gives every person another hashed identity at the providers.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from aibridge.credentials import Secret
from aibridge.server.config import Configuration, Wrong
from aibridge.server.config.values import Unresolved, resolved
from aibridge.server.private_files import PrivateFileUnusable, kept

FILE = "server.secret"
# 128 bits as the tightest text, base64, writes them; a sentence of this length is weaker, but its owner's choice.
SHORTEST = 22

Use = Literal["token hashes", "attribution hashes", "encryption at rest", "page sessions"]


def server_secret(configuration: Configuration, environ: Mapping[str, str] = os.environ) -> Secret:
    """The configured secret; else the one in the data folder, which is made at the first start.

    Raises: Wrong.
    """
    secret = configured_secret(configuration, environ)
    return _of_data_folder(configuration.data / FILE) if secret is None else secret


def configured_secret(configuration: Configuration, environ: Mapping[str, str] = os.environ) -> Secret | None:
    """The secret that the configuration names, if it does. Raises: Wrong."""
    reference = configuration.settings.server.secret
    if reference is None:
        return None
    try:
        secret = resolved(reference, environ, configuration.base)
    except Unresolved as error:
        raise Wrong(f"{configuration.place(('server', 'secret'))}: {error}") from None
    if len(secret.reveal()) < SHORTEST:
        raise Wrong(f"{configuration.place(('server', 'secret'))}: must have at least {SHORTEST} characters")
    return secret


def derived_key(secret: Secret, use: Use) -> bytes:
    """32 bytes for one use (HKDF, RFC 5869)."""
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"aibridge {use} v1".encode())
    return derivation.derive(secret.reveal().encode())


def _of_data_folder(path: Path) -> Secret:
    try:
        secret = Secret(kept(path, lambda: secrets.token_urlsafe(32)))
    except PrivateFileUnusable as error:
        raise Wrong(str(error)) from None
    if len(secret.reveal()) < SHORTEST:  # none of ours, or cut off
        raise Wrong(f"{path}: must have at least {SHORTEST} characters; put back what was in it")
    return secret

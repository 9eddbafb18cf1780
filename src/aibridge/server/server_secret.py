"""The server's one secret, and the keys that are derived from it: one for each use, so that none opens another's door.

Losing it makes every gateway key invalid, and changing it gives every person another hashed identity at the providers.
So a database keeps its fingerprint, and with people in it takes no other one.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from aibridge.credentials import Secret
from aibridge.database.files import DatabaseFile, DatabaseUnusable
from aibridge.database.upgrade import bring_up_to_date
from aibridge.server.config import Configuration, Wrong
from aibridge.server.config.values import Unresolved, resolved
from aibridge.server.private_files import PrivateFileUnusable, kept, read

FILE = "server.secret"
# 128 bits as the tightest text, base64, writes them; a sentence of this length is weaker, but its owner's choice.
SHORTEST = 22

Use = Literal["token hashes", "attribution hashes", "encryption at rest", "page sessions", "fingerprint"]

_KNOWN = "SELECT fingerprint FROM aibridge_fingerprints WHERE secret = ?"
_KEEP = "INSERT OR REPLACE INTO aibridge_fingerprints (secret, fingerprint) VALUES (?, ?)"
_MADE_WITH_ONE = "SELECT EXISTS (SELECT 1 FROM aibridge_keys WHERE revoked_at IS NULL)"
_SOMEBODY = "SELECT EXISTS (SELECT 1 FROM aibridge_users)"


def server_secret(configuration: Configuration, environ: Mapping[str, str] = os.environ) -> Secret:
    """The configured secret; else the one in the data folder, which is made at the first start: when the database, made
    or upgraded if need be, is found good, and nobody in it depends on another one.

    Raises: Wrong, DatabaseUnusable.
    """
    path = configuration.data / FILE
    secret = configured_secret(configuration, environ) or _read(path)  # before anything is written
    file = DatabaseFile.at(configuration.database)
    bring_up_to_date(file)
    try:
        # In the one lock of all who write: of processes that start at once, one makes the secret, the others take it.
        with file.writing() as connection:
            known = connection.execute(_KNOWN, (FILE,)).fetchone()
            is_needed = _one(connection, _MADE_WITH_ONE) or (known is not None and _one(connection, _SOMEBODY))
            secret = secret or _read(path)
            if secret is None:
                if is_needed:
                    raise Wrong(f"{path}: is not there, and {_consequences(file)}")
                secret = _made(path)
            fingerprint = derived_key(secret, "fingerprint")
            if known != (fingerprint,):
                if known is not None and is_needed:
                    raise Wrong(f"{_place(configuration)}: is another secret than before, and {_consequences(file)}")
                connection.execute(_KEEP, (FILE, fingerprint))
    except sqlite3.Error as error:
        raise DatabaseUnusable(f"{file.path} cannot be written: {error}") from error
    return secret


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


def _one(connection: sqlite3.Connection, question: str) -> bool:
    return bool(connection.execute(question).fetchone()[0])


def _consequences(file: DatabaseFile) -> str:
    return (
        f"without the one that {file.path} was made with no key in it opens anything: put that secret back, or give up "
        "all keys with `aibridge keys revoke --all` and make new ones"
    )


def _place(configuration: Configuration) -> str:
    """Where the secret is, for whoever has to mend it."""
    reference = configuration.settings.server.secret
    if reference is None:
        return str(configuration.data / FILE)
    where = configuration.place(("server", "secret"))
    return f"{where} ({reference})" if reference.startswith(("env:", "file:")) else where


def _read(path: Path) -> Secret | None:
    try:
        text = read(path)
    except PrivateFileUnusable as error:
        raise Wrong(str(error)) from None
    if text is not None and len(text) < SHORTEST:  # none of ours, or cut off
        raise Wrong(f"{path}: must have at least {SHORTEST} characters; put back what was in it")
    return None if text is None else Secret(text)


def _made(path: Path) -> Secret:
    try:
        return Secret(kept(path, lambda: secrets.token_urlsafe(32)))
    except PrivateFileUnusable as error:
        raise Wrong(str(error)) from None

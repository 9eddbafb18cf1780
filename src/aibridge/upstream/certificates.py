"""Whom we trust and as whom we come: TLS contexts out of the files that a link names, read again when they change."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from typing import NamedTuple

from aibridge.link import Link


class CertificatesUnusable(Exception):
    """The text says which field of the link, and why. It names no path."""


class _Files(NamedTuple):
    ca_bundle: str | None
    client_cert: str | None
    client_key: str | None


_NONE = _Files(None, None, None)


@dataclass(slots=True)
class Certificates:
    """`default` is for links that name no file; None: the authorities of the system, or of $SSL_CERT_FILE."""

    default: ssl.SSLContext | None = None
    _read: dict[_Files, tuple[tuple[int, ...], ssl.SSLContext]] = field(default_factory=dict)

    def for_provider(self, link: Link | None) -> ssl.SSLContext:
        """Raises: CertificatesUnusable, when there never was a usable version of the files."""
        return self._context(_NONE if link is None else _Files(link.ca_bundle, link.client_cert, link.client_key))

    def for_proxy(self, link: Link) -> ssl.SSLContext:
        """The client certificate is for the provider, and not shown to the proxy. Raises: CertificatesUnusable."""
        return self._context(_Files(link.ca_bundle, None, None))

    def _context(self, files: _Files) -> ssl.SSLContext:
        if files == _NONE:
            self.default = self.default or _trusting(None)
            return self.default
        known = self._read.get(files)
        try:
            version = _version(files)
            if known is None or known[0] != version:
                known = self._read[files] = (version, _made(files))
        except CertificatesUnusable:
            # They may be in the midst of being replaced.
            if known is None:
                raise
        return known[1]


def check(link: Link) -> None:
    """Reads the files of a link, so that a wrong one is found at the start. Raises: CertificatesUnusable."""
    Certificates().for_provider(link)


def _version(files: _Files) -> tuple[int, ...]:
    """Changes when a file does."""
    found: list[int] = []
    for name, path in files._asdict().items():
        if path is not None:
            try:
                state = os.stat(path)
            except OSError as error:
                raise CertificatesUnusable(f"{name}: cannot be read ({error.strerror})") from None
            found += (state.st_mtime_ns, state.st_size, state.st_ino)
    return tuple(found)


def _made(files: _Files) -> ssl.SSLContext:
    context = _trusting(files.ca_bundle)
    if files.client_cert is not None:
        # Without a password of ours OpenSSL would ask at the terminal for that of an encrypted key.
        try:
            context.load_cert_chain(files.client_cert, files.client_key, password="")
        except OSError as error:  # ssl.SSLError is one
            named = "client_cert" if files.client_key is None else "client_cert, client_key"
            why = error.strerror if not isinstance(error, ssl.SSLError) else error.reason
            raise CertificatesUnusable(
                f"{named}: must be a certificate with its chain and its key, as PEM, the key not encrypted"
                f" ({why or 'error'})"
            ) from None
    return context


def _trusting(ca_bundle: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_bundle)
    except OSError as error:
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise CertificatesUnusable(f"ca_bundle: must be certificates of authorities, as PEM ({why})") from None
    context.set_alpn_protocols(["http/1.1"])
    return context

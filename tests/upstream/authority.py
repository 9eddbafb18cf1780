"""A certificate authority of the tests' own, and the contexts of servers and clients that follow from it."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NOW = dt.datetime.now(dt.UTC)
_DAY = dt.timedelta(days=1)


class Authority:
    """Signs certificates; `folder` is where they lie."""

    def __init__(self, folder: Path, name: str = "the tests' own authority") -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            self._certificate(self._name, self._key, _NOW - _DAY, _NOW + _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self._root = certificate.public_bytes(serialization.Encoding.PEM).decode()

    def root(self) -> Path:
        """The file with the authority's own certificate."""
        file = self._folder / f"root-{x509.random_serial_number()}.pem"
        file.write_text(self._root)
        return file

    def trusted(self) -> ssl.SSLContext:
        """For a client that trusts this authority and no other."""
        context = ssl.create_default_context(cadata=self._root)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def server(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """For a server of these names or addresses."""
        file, _ = self._issued(*names, expired=expired)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def client(self, name: str, *, apart: bool = False, password: bytes | None = None) -> tuple[Path, Path | None]:
        """The file of a client's certificate, and where they are `apart` that of its key."""
        return self._issued(name, apart=apart, password=password)

    def _issued(
        self, *names: str, expired: bool = False, apart: bool = False, password: bytes | None = None
    ) -> tuple[Path, Path | None]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        end = _NOW - _DAY / 2 if expired else _NOW + _DAY
        certificate = (
            self._certificate(subject, key, _NOW - _DAY, end)
            .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        file = self._folder / f"{certificate.serial_number}.pem"
        locked = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
        public = certificate.public_bytes(serialization.Encoding.PEM)
        if not apart:
            file.write_bytes(secret + public)
            return file, None
        file.write_bytes(public)
        beside = file.with_suffix(".key")
        beside.write_bytes(secret)
        return file, beside

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, begins: dt.datetime, ends: dt.datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)

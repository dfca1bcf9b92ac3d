"""Certificates for tests: an authority, and what it signs, good or wrong in one way each."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, in PEM form."""

    certificate: str
    key: str

    @property
    def both(self) -> str:
        return self.certificate + self.key


class Authority:
    """Signs certificates with its own, which is `certificate`."""

    def __init__(self, name: str = "Test CA") -> None:
        self._name, self._key = _name(name), ec.generate_private_key(ec.SECP256R1())
        builder = _builder(self._name, self._name, self._key, timedelta(days=10))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        self._certificate = builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.certificate = _pem(self._certificate)

    def sign(self, name: str, *, hosts: tuple[str, ...] = (), valid: timedelta = 5 * _DAY) -> Pair:
        """Return a certificate of `name` for `hosts`; one whose validity is negative has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), self._name, key, valid)
        if hosts:
            alternatives = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        encoded = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Pair(_pem(certificate), encoded.decode())

    def revoke(self, *pairs: Pair) -> str:
        """Return the list of what is revoked, in PEM form."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        builder = builder.last_update(now - _DAY).next_update(now + _DAY)
        for pair in pairs:
            number = x509.load_pem_x509_certificate(pair.certificate.encode()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now - _DAY)
            builder = builder.add_revoked_certificate(revoked.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def written(folder: Path, name: str, text: str, owner: int | None = None) -> str:
    """Write `text` to a file of `folder` that only its owner reads, and return its path."""
    import os

    path = folder / name
    path.touch(mode=0o600)
    path.write_text(text)
    if owner is not None:
        os.chown(path, owner, -1)
    return str(path)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 9 * _DAY)
        .not_valid_after(now + valid)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()

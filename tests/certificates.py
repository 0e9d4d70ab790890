"""A certification authority for tests, and what it issues."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """PEM files of a certificate and of its key."""

    certificate: Path
    key: Path


class Authority:
    """A certification authority whose files lie in `folder`."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        self.folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issued = 0
        # CertificateBuilder has methods only; a certificate of its own is the first it issues.
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        own = self._builder(name, self._key).add_extension(constraints, critical=True)
        self.certificate = folder / f"{name}.pem"
        self.certificate.write_bytes(_sign(own, self._key))

    def issue(
        self,
        common_name: str,
        dns: Iterable[str] = (),
        *,
        addresses: Iterable[str] = ("127.0.0.1",),
        organization: str = "",
        usage: Literal["client", "server", "both"] = "both",
        key: Literal["P-256", "RSA-2048", "RSA-1024"] = "P-256",
        expired: bool = False,
        passphrase: bytes | None = None,
    ) -> Pair:
        """Issue a certificate; without a common name its subject is empty."""
        self._issued += 1
        private: Key = (
            ec.generate_private_key(ec.SECP256R1())
            if key == "P-256"
            else rsa.generate_private_key(65537, int(key.removeprefix("RSA-")))
        )
        builder = self._builder(common_name, private, organization, ended=expired)
        alternatives = [
            *(x509.DNSName(one) for one in dns),
            *(x509.IPAddress(ip_address(one)) for one in addresses),
        ]
        if alternatives:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(alternatives), critical=False
            )
        usages = {
            "client": [Usage.CLIENT_AUTH],
            "server": [Usage.SERVER_AUTH],
            "both": [Usage.CLIENT_AUTH, Usage.SERVER_AUTH],
        }[usage]
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        stem = f"{self._name} {self._issued}"
        pair = Pair(self.folder / f"{stem}.pem", self.folder / f"{stem}.key")
        pair.certificate.write_bytes(_sign(builder, self._key))
        encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        pair.key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
        return pair

    def pair(self) -> Pair:
        """The authority's own certificate and key, for who issues in its name."""
        key = self.folder / f"{self._name}.key"
        key.write_bytes(self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return Pair(self.certificate, key)

    def _builder(
        self, name: str, key: Key, organization: str = "", *, ended: bool = False
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_subject(name, organization))
            .issuer_name(_subject(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * _DAY)
            .not_valid_after(now - _DAY if ended else now + 30 * _DAY)
        )


def _subject(name: str, organization: str = "") -> x509.Name:
    parts = {NameOID.ORGANIZATION_NAME: organization, NameOID.COMMON_NAME: name}
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts.items() if value])


def _sign(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)

"""TLS by the BCP 195 RFC 8996, 9325 profile (PS3.15 §B.12).

No tickets are given out: OpenSSL never changes the key it seals them with (RFC
9325 §3.4), and one would outlive a reload. A TLS 1.2 session is resumed from
the memory of its context at most, without a second look at its certificate, so
whoever reloads authorities builds another context.
"""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Final, TypeAlias, cast

from pacsless.settings import InvalidSetting
from scp_gateway.application_entities import Certificate, lower

_Names: TypeAlias = tuple[tuple[str, str], ...]
_Subject: TypeAlias = tuple[_Names, ...]

_CERTIFICATE: Final = "PACSLESS_GATEWAY_TLS_CERTIFICATE"
_KEY: Final = "PACSLESS_GATEWAY_TLS_KEY"
_CLIENT_CA: Final = "PACSLESS_GATEWAY_TLS_CLIENT_CA"

# RFC 9325 §4.1 and §4.2: forward secrecy and AEAD. OpenSSL's level 2 refuses RSA keys below 2048
# bits and SHA-1 signatures (§4.5).
_TLS_1_2_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"


def server_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """Return the context of the port that senders connect to.

    Parameters
    ----------
    certificate
        PEM file of the gateway's certificate, followed by those of intermediate authorities.
    key
        PEM file of its private key, without a passphrase.
    client_ca
        PEM file of the authorities for client certificates; with it, nobody comes in without one.

    Raises
    ------
    InvalidSetting
        If a file cannot be read or is not what it should be; names the setting.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _restrict(context)
    context.num_tickets = 0
    _load_certificate(context, certificate, key)
    if client_ca is not None:
        _load_authorities(context, client_ca, _CLIENT_CA)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(ca: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return the context of outgoing associations; it verifies the peer and its host name.

    Parameters
    ----------
    ca
        PEM file of the authorities for the peers' certificates; None for the system's.
    certificate, key
        What to show to a peer that asks for a certificate; both or none.

    Raises
    ------
    InvalidSetting
        If a file cannot be read or is not what it should be; names the setting.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _restrict(context)
    # A common name is not a host name (RFC 9525 §2).
    context.hostname_checks_common_name = False
    if ca is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        _load_authorities(context, ca, _CLIENT_CA)
    if certificate is not None and key is not None:
        _load_certificate(context, certificate, key)
    elif certificate is not None or key is not None:
        raise _invalid(_KEY if key is None else _CERTIFICATE, "is missing: set both or neither")
    return context


def certificate_of(connection: ssl.SSLSocket) -> Certificate | None:
    """Return what the peer's certificate says; None if it has none, or none that was verified."""
    said = connection.getpeercert()
    der = connection.getpeercert(binary_form=True)
    # Of a certificate that was not verified the former is empty and the latter is not.
    if not said or der is None:
        return None
    # Every part of a subject is a set of attributes, subjectAltName a list of names.
    subject = cast("_Subject", said.get("subject", ()))
    others = cast("_Names", said.get("subjectAltName", ()))
    names = [value for part in subject for kind, value in part if kind == "commonName"]
    names += [value for kind, value in others if kind == "DNS"]
    return Certificate(frozenset(map(lower, names)), hashlib.sha256(der).hexdigest())


def _restrict(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_SUITES)
    # RFC 9325 §3.3 to §3.5; TLS 1.3 has neither compression nor renegotiation.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _check_readable(certificate, _CERTIFICATE)
    _check_readable(key, _KEY)
    try:
        # load_cert_chain does not say which of the files it means.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except ssl.SSLError:
        raise _invalid(_CERTIFICATE, f"{certificate} has no certificate in PEM") from None

    def passphrase() -> str:
        # Without this OpenSSL would ask for one on the terminal, and wait.
        raise _invalid(_KEY, f"{key} has a passphrase: take it off with `openssl pkey`")

    try:
        context.load_cert_chain(certificate, key, passphrase)
    except ssl.SSLError as error:
        reason = error.reason or ""
        # OpenSSL keeps a certificate a kind of key; a key of another kind finds none.
        if "MISMATCH" in reason or reason == "NO_CERTIFICATE_ASSIGNED":
            raise _invalid(
                _KEY, f"{key} is not the key of {_CERTIFICATE}, {certificate}: set a pair"
            ) from None
        if "TOO_SMALL" in reason or "TOO_WEAK" in reason:
            raise _invalid(
                _CERTIFICATE,
                f"{certificate} is too weak: it needs RSA of 2048 bits, or P-256, and SHA-256",
            ) from None
        raise _invalid(_KEY, f"{key} has no private key in PEM") from None


def _load_authorities(context: ssl.SSLContext, path: Path, setting: str) -> None:
    _check_readable(path, setting)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise _invalid(setting, f"{path} has no certificate in PEM") from None


def _check_readable(path: Path, setting: str) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise _invalid(setting, f"{path} cannot be read: {error.strerror}") from None


def _invalid(setting: str, problem: str) -> InvalidSetting:
    return InvalidSetting("setting", f"{setting}: {problem}")

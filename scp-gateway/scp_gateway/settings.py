"""What can be set of the gateway: ``PACSLESS_GATEWAY_`` and the field's name.

Archive, spool and Kafka are `pacsless.settings.Settings`, as everywhere.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar, Self

from pacsless.settings import FromEnviron, InvalidSetting
from scp_gateway.application_entities import ApplicationEntities
from scp_gateway.tls import client_context, server_context


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings(FromEnviron):
    """Settings of the gateway."""

    PREFIX: ClassVar[str] = "PACSLESS_GATEWAY_"

    host: str = "127.0.0.1"
    """Address to listen on for DICOM, and for the admin port."""
    port: int = 11112
    """DICOM port; -1 for none, where there is one with TLS."""
    admin_host: str = ""
    """Address of the admin port; empty for the same."""
    admin_port: int = 8081
    """HTTP port of ``/healthz``, ``/readyz`` and ``/metrics``."""
    tls_port: int = -1
    """DICOM port with TLS, of custom 2762; -1 for none."""
    tls_certificate: str = ""
    """PEM file of the gateway's certificate, with intermediate ones."""
    tls_key: str = ""
    """PEM file of its key."""
    tls_client_ca: str = ""
    """PEM file of authorities: senders must have a certificate of theirs. Empty to ask for none."""
    ae_titles: tuple[str, ...] = ("PACSLESS=default",)
    """Called AE titles and the tenant each belongs to, ``TITLE=tenant``; others are rejected."""
    ae_file: str = ""
    """TOML file in place of that, with allow-lists; read again when it changes and on SIGHUP."""
    any_sop_class: bool = False
    """Whether to take instances of SOP classes nobody here has heard of."""
    storage_commitment: bool = True
    """Whether to be SCP of the Storage Commitment Push Model; needs PostgreSQL."""
    commitment_wait_seconds: int = 300
    """How long what is asked for may take to appear in the index."""
    commitment_retry_seconds: int = 86_400
    """For how long a result is tried to be delivered."""
    processes: int = 0
    """Processes that receive; 0 for one a core."""
    max_associations: int = 64
    """Associations at a time; more are rejected as transient, local limit exceeded."""
    max_associations_per_address: int = 32
    """Connections at a time from one address; more are closed unheard."""
    max_pdu: int = 131072
    """Largest PDU the gateway receives, in bytes."""
    max_object_mb: int = 16_384
    """Largest data set, in MiB; the association of a larger one is aborted."""
    max_association_mb: int = 1_048_576
    """Most that one association may send, in MiB; then it is aborted."""
    max_tenant_mb: int = 65_536
    """Most that a tenant may be sending to one process at a time, in MiB; more gets 0xA700."""
    association_seconds: int = 30
    """How long a connection may take for TLS and for asking for its association."""
    idle_seconds: int = 120
    """How long a sender may be silent between PDUs before it is aborted."""
    pdu_seconds: int = 60
    """How long one PDU may take from its first byte on."""
    message_seconds: int = 3600
    """How long one instance may take from its first fragment on."""
    stop_seconds: int = 20
    """How long a stop waits for senders, and then again for Kafka."""
    high_water_percent: int = 90
    """How full the disks of spool and archive may get before instances are refused."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings of this process.

        Raises
        ------
        InvalidSetting
            If one has a value it cannot have, or there is none of its name: a
            misspelt limit would be none.
        """
        environ = os.environ if environ is None else environ
        known = {f"{cls.PREFIX}{field.name.upper()}" for field in fields(cls)}
        for name in sorted(environ):
            if name.startswith(cls.PREFIX) and name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise InvalidSetting("setting", f"{name} is no setting of the gateway{hint}")
        # Not super(): a dataclass with slots is another class than the one it is written in.
        return FromEnviron.from_environ.__func__(cls, environ)  # type: ignore[attr-defined, no-any-return]

    def __post_init__(self) -> None:
        for name, value, lowest, highest in (
            ("PORT", self.port, -1, 65_535),
            ("TLS_PORT", self.tls_port, -1, 65_535),
            ("ADMIN_PORT", self.admin_port, 0, 65_535),
            ("PROCESSES", self.processes, 0, 256),
            ("MAX_ASSOCIATIONS", self.max_associations, 1, 10_000),
            ("MAX_ASSOCIATIONS_PER_ADDRESS", self.max_associations_per_address, 1, 10_000),
            ("MAX_PDU", self.max_pdu, 4096, 1 << 20),
            ("MAX_OBJECT_MB", self.max_object_mb, 1, 1 << 30),
            ("MAX_ASSOCIATION_MB", self.max_association_mb, 1, 1 << 30),
            ("MAX_TENANT_MB", self.max_tenant_mb, 1, 1 << 30),
            ("ASSOCIATION_SECONDS", self.association_seconds, 1, 3600),
            ("IDLE_SECONDS", self.idle_seconds, 1, 86_400),
            ("PDU_SECONDS", self.pdu_seconds, 1, 86_400),
            ("MESSAGE_SECONDS", self.message_seconds, 1, 86_400),
            ("STOP_SECONDS", self.stop_seconds, 0, 3600),
            ("HIGH_WATER_PERCENT", self.high_water_percent, 0, 100),
            ("COMMITMENT_WAIT_SECONDS", self.commitment_wait_seconds, 0, 86_400),
            ("COMMITMENT_RETRY_SECONDS", self.commitment_retry_seconds, 0, 30 * 86_400),
        ):
            if not lowest <= value <= highest:
                raise InvalidSetting(
                    "setting", f"{self.PREFIX}{name} must be from {lowest} to {highest}"
                )
        if self.port < 0 and self.tls_port < 0:
            raise InvalidSetting(
                "setting", f"set {self.PREFIX}PORT or {self.PREFIX}TLS_PORT: nothing would listen"
            )
        if self.tls_port >= 0 and not (self.tls_certificate and self.tls_key):
            raise InvalidSetting(
                "setting",
                f"{self.PREFIX}TLS_PORT needs {self.PREFIX}TLS_CERTIFICATE and "
                f"{self.PREFIX}TLS_KEY",
            )
        ApplicationEntities.from_titles(self.ae_titles)

    def entities_text(self) -> str | None:
        """Read the AE file, if there is one.

        Raises
        ------
        InvalidSetting
            If it cannot be read.
        """
        if not self.ae_file:
            return None
        try:
            return Path(self.ae_file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            raise InvalidSetting(
                "setting", f"{self.PREFIX}AE_FILE {self.ae_file} cannot be read: {why}"
            ) from None

    def tls_context(self) -> ssl.SSLContext | None:
        """Make what the TLS port needs, from files as they are now.

        Raises
        ------
        InvalidSetting
            If a file is not what it should be.
        """
        if self.tls_port < 0:
            return None
        authorities = Path(self.tls_client_ca) if self.tls_client_ca else None
        try:
            return server_context(Path(self.tls_certificate), Path(self.tls_key), authorities)
        except OSError as error:  # they are being changed this moment
            raise InvalidSetting(
                "setting", f"{self.PREFIX}TLS_CERTIFICATE or _KEY cannot be read: {error.strerror}"
            ) from None

    def outgoing_tls_context(self) -> ssl.SSLContext | None:
        """Make what associations to others over TLS need: the same files."""
        if self.tls_port < 0:
            return None
        authorities = Path(self.tls_client_ca) if self.tls_client_ca else None
        return client_context(authorities, Path(self.tls_certificate), Path(self.tls_key))

"""What can be set of the gateway: ``PACSLESS_GATEWAY_`` and the field's name.

Archive, spool and Kafka are `pacsless.settings.Settings`, as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pacsless.identity import valid_tenant
from pacsless.settings import FromEnviron, InvalidSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings(FromEnviron):
    """Settings of the gateway."""

    PREFIX: ClassVar[str] = "PACSLESS_GATEWAY_"

    host: str = "127.0.0.1"
    """Address to listen on for DICOM, and for the admin port."""
    port: int = 11112
    """DICOM port."""
    admin_port: int = 8081
    """HTTP port of ``/healthz``, ``/readyz`` and ``/metrics``."""
    ae_titles: tuple[str, ...] = ("PACSLESS=default",)
    """Called AE titles and the tenant each belongs to, ``TITLE=tenant``; others are rejected."""
    any_sop_class: bool = False
    """Whether to take instances of SOP classes nobody here has heard of."""
    max_associations: int = 64
    """Associations at a time; more are rejected as transient, local limit exceeded."""
    max_pdu: int = 131072
    """Largest PDU the gateway receives, in bytes."""
    association_seconds: int = 30
    """How long a connection may take to ask for its association."""
    idle_seconds: int = 120
    """How long a sender may be silent before it is aborted."""
    stop_seconds: int = 20
    """How long a stop waits for senders, and then again for Kafka."""
    high_water_percent: int = 90
    """How full the spool's disk may get before instances are refused."""

    def __post_init__(self) -> None:
        for name, value, lowest, highest in (
            ("MAX_ASSOCIATIONS", self.max_associations, 1, 10_000),
            ("MAX_PDU", self.max_pdu, 4096, 1 << 20),
            ("ASSOCIATION_SECONDS", self.association_seconds, 1, 3600),
            ("IDLE_SECONDS", self.idle_seconds, 1, 86_400),
            ("STOP_SECONDS", self.stop_seconds, 0, 3600),
            ("HIGH_WATER_PERCENT", self.high_water_percent, 0, 100),
        ):
            if not lowest <= value <= highest:
                raise InvalidSetting(
                    "setting", f"{self.PREFIX}{name} must be from {lowest} to {highest}"
                )
        _ = self.tenants

    @property
    def tenants(self) -> dict[str, str]:
        """Tenant of each called AE title.

        Raises
        ------
        InvalidSetting
            If a title or a tenant is malformed, or a title stands twice.
        """
        found: dict[str, str] = {}
        for one in self.ae_titles:
            title, equals, tenant = (part.strip() for part in one.partition("="))
            # PS3.5 §6.2: up to 16 characters, no backslash, no control characters.
            if not equals or not 0 < len(title) <= 16 or not title.isascii():
                raise InvalidSetting(
                    "setting", f"{self.PREFIX}AE_TITLES is a list of TITLE=tenant, not {one!r}"
                )
            if not title.isprintable() or "\\" in title or title in found:
                raise InvalidSetting(
                    "setting", f"{self.PREFIX}AE_TITLES: {title!r} is no AE title or stands twice"
                )
            found[title] = valid_tenant(tenant)
        if not found:
            raise InvalidSetting("setting", f"{self.PREFIX}AE_TITLES names no AE title")
        return found

"""What a tenant answers to, and whom."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True, slots=True)
class Remote:
    """Where an application entity of others listens, for N-EVENT-REPORTs."""

    host: str
    port: int
    tls: bool


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a verified client certificate says.

    Parameters
    ----------
    names
        Common names of the subject and DNS names of subjectAltName, as `lower` makes them.
    fingerprint
        SHA-256 of the DER encoding in lower-case hexadecimal.
    """

    names: frozenset[str]
    fingerprint: str


def lower(name: str) -> str:
    """Lower the ASCII letters alone (RFC 4343 §3): the Kelvin sign must not become a k."""
    return name.translate(_LOWER)


@dataclass(frozen=True, slots=True)
class Tenant:
    """What a tenant answers to, and whom; a rule that is empty holds for everybody."""

    tenant_id: str
    called: tuple[str, ...]
    calling: tuple[str, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    certificates: tuple[str, ...] = ()
    remotes: tuple[tuple[str, Remote], ...] = ()

    def allows(self, address: IPv4Address | IPv6Address | None) -> bool:
        """Whether senders at `address` may reach the tenant; None is an address unknown."""
        return not self.networks or (
            address is not None and any(address in one for one in self.networks)
        )

    def objection(self, certificate: Certificate | None, owners: frozenset[str]) -> str:
        """Code of what is wrong with a certificate that `owners` list; empty if nothing is."""
        if self.tenant_id in owners:
            return "" if len(owners) == 1 else "certificate-of-several-tenants"
        if owners:
            return "certificate-of-another-tenant"
        if not self.certificates:
            return ""
        return "certificate-not-listed" if certificate else "certificate-missing"


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address; None if it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # Senders by IPv4 have such an address where the socket is one of both families.
    return getattr(address, "ipv4_mapped", None) or address

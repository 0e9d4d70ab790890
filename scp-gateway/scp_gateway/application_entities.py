"""Who may send what to whom: AE titles, addresses and certificates of each tenant.

An AE title is an identifier, not a credential: anybody can write one into an
A-ASSOCIATE-RQ. What is known of a sender is where its connection comes from
and which certificate it proved to have.

Therefore these two are asked first, and of every tenant at once. A sender that
no tenant would have is told "no reason given" whatever title it calls. One
that some tenant would have is told "called AE title not recognised" both for
titles that nobody has and for those of tenants that would not have it, so that
nobody learns by trying which titles another tenant answers to. The log gets
the true reason. Calling AE titles are checked last, among those let in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from pacsless.errors import PacslessError
from scp_gateway import ae_file
from scp_gateway.tenants import Certificate, Remote, Tenant, lower, parse_address

__all__ = ["ApplicationEntities", "Certificate", "NotAdmitted", "Remote", "lower"]


# Reason/Diag. for source 1, PS3.8 Table 9-21.
_NO_REASON_GIVEN, _CALLING_NOT_RECOGNIZED, _CALLED_NOT_RECOGNIZED = 1, 3, 7
_MESSAGES: Final = {
    "called-ae-title-unknown": "no tenant answers to the called AE title: list it, or mend the "
    "sender",
    "calling-ae-title-not-listed": "list the calling AE title under the tenant's calling titles",
    "address-not-allowed": "list the sender's address under the tenant's addresses",
    "certificate-missing": "the tenant wants a client certificate: let the sender use TLS with one",
    "certificate-not-listed": "list the sender's certificate under the tenant's certificates",
    "certificate-of-another-tenant": "the sender may only call titles of its certificate's tenant",
    "certificate-of-several-tenants": "names of the sender's certificate stand under several "
    "tenants, so it opens none: list its fingerprint under one",
}


class NotAdmitted(PacslessError):
    """An association to reject: what A-ASSOCIATE-RJ says (PS3.8 Table 9-21), and why.

    Parameters
    ----------
    code
        The true reason, for the log.
    reason
        Reason/Diag. of the A-ASSOCIATE-RJ, which may say less.
    """

    result: ClassVar[int] = 1
    """Rejected permanent."""
    source: ClassVar[int] = 1
    """DICOM UL service-user."""

    def __init__(self, code: str, reason: int) -> None:
        super().__init__(code, _MESSAGES[code])
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ApplicationEntities:
    """The rules of all tenants. Immutable: a reload builds another."""

    _all: tuple[Tenant, ...]

    @classmethod
    def from_titles(cls, titles: Iterable[str]) -> Self:
        """Read the short form, ``TITLE=tenant``: whoever calls the title may send.

        Raises
        ------
        InvalidSetting
            If a title or a tenant is malformed, or a title stands twice.
        """
        return cls(ae_file.from_titles(titles))

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read the long form: TOML with a table ``tenants.<tenant>`` for each tenant.

        Raises
        ------
        InvalidSetting
            If it is not TOML or there is anything in it that has no meaning; names the place.
        """
        return cls(ae_file.from_toml(text))

    @property
    def tenants(self) -> dict[str, str]:
        """Tenant of each called AE title."""
        return {title: one.tenant_id for one in self._all for title in one.called}

    @property
    def needs_certificates(self) -> bool:
        """Whether a tenant can only be reached with a client certificate."""
        return any(one.certificates for one in self._all)

    def allows_address(self, address: str) -> bool:
        """Whether any tenant could be reached from `address`."""
        parsed = parse_address(address)
        return any(one.allows(parsed) for one in self._all)

    def remote(self, tenant_id: str, title: str) -> Remote | None:
        """Where, as `tenant_id` has it, the application entity `title` listens."""
        remotes = (dict(one.remotes) for one in self._all if one.tenant_id == tenant_id)
        return next(remotes, {}).get(title.strip(" "))

    def admit(
        self, called: str, calling: str, address: str, certificate: Certificate | None
    ) -> str:
        """Return the tenant of an association.

        Raises
        ------
        NotAdmitted
            If it is to be rejected. The module says in what order is asked, and why.
        """
        parsed, owners = parse_address(address), self._owners(certificate)
        objections = {
            one.tenant_id: one.objection(certificate, owners)
            if one.allows(parsed)
            else "address-not-allowed"
            for one in self._all
        }
        title = called.strip(" ")
        tenant = next((one for one in self._all if title in one.called), None)
        code = objections[tenant.tenant_id] if tenant else "called-ae-title-unknown"
        if tenant is None or code:
            is_outsider = all(objections.values())
            raise NotAdmitted(code, _NO_REASON_GIVEN if is_outsider else _CALLED_NOT_RECOGNIZED)
        if tenant.calling and calling.strip(" ") not in tenant.calling:
            raise NotAdmitted("calling-ae-title-not-listed", _CALLING_NOT_RECOGNIZED)
        return tenant.tenant_id

    def _owners(self, certificate: Certificate | None) -> frozenset[str]:
        if certificate is None:
            return frozenset()
        # A name is no fingerprint, whatever it looks like; a fingerprint says more than a name.
        names = {one for one in certificate.names if not one.startswith("sha256:")}
        exact = {f"sha256:{certificate.fingerprint}"}
        return next(filter(None, map(self._listing, (exact, names))), frozenset())

    def _listing(self, certificates: set[str]) -> frozenset[str]:
        return frozenset(
            one.tenant_id for one in self._all if not certificates.isdisjoint(one.certificates)
        )

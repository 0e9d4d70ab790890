"""How much may be pending: of one sender, of one tenant, and of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from scp_gateway.storage_commitment.commitment import sender_of, tenant_of
from scp_gateway.storage_commitment.request import ActionStatus, Declined


class Limit(NamedTuple):
    """How many transactions, and how many bytes of requests."""

    transactions: int
    bytes: int


class Limits(NamedTuple):
    """One modality must not cost its tenant, nor one tenant the others, their commitments."""

    sender: Limit = Limit(200, 128 << 20)
    """Of one calling AE title of a tenant."""
    tenant: Limit = Limit(1_000, 512 << 20)
    overall: Limit = Limit(5_000, 2 << 30)

    def check(self, name: str, size: int, pending: Mapping[str, int]) -> None:
        """Decline one transaction too many.

        Parameters
        ----------
        name, size
            Of the one that is asked for.
        pending
            Sizes of those that are there, by name.

        Raises
        ------
        Declined
            If a limit would be passed.
        """
        # Names are digests of one length, so no prefix is another's by chance.
        for prefix, whose, limit in (
            (sender_of(name), " of this AE title", self.sender),
            (tenant_of(name), " of this tenant", self.tenant),
            ("", "", self.overall),
        ):
            sizes = [used for one, used in pending.items() if one.startswith(prefix)]
            if len(sizes) >= limit.transactions or sum(sizes) + size > limit.bytes:
                raise Declined(
                    ActionStatus.RESOURCE_LIMITATION,
                    "pending",
                    f"too many requests{whose} are pending",
                )

"""What the receptions of a process share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pacsless.archive import Archive
from pacsless.errors import PacslessError
from pacsless.outbox import DiskSpace, Outbox
from scp_gateway.answers import Answer

if TYPE_CHECKING:
    from scp_gateway.c_store import Reception


class ObjectTooLarge(PacslessError):
    """A sender does not stop; its association is to be aborted."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be on its way."""

    object_bytes: int
    """Of one data set."""
    tenant_bytes: int
    """Of all data sets that one tenant is sending to this process at a time."""


class StorageService:
    """What all receptions of a process share.

    Parameters
    ----------
    archive, outbox
        Where files and promises go.
    space
        Tells when the disks are too full.
    owner
        Name of this process among those that write incoming files.
    on_answer
        Told of every answer and the bytes received, for the metrics.
    """

    def __init__(
        self,
        archive: Archive,
        outbox: Outbox,
        space: DiskSpace,
        owner: str,
        on_answer: Callable[[Answer, int], None],
        *,
        limits: Limits,
    ) -> None:
        self.archive = archive
        self.outbox = outbox
        self.space = space
        self.owner = owner
        self.on_answer = on_answer
        self.limits = limits
        self.receptions: set[Reception] = set()
        """Those that are under way."""

    def bytes_of(self, tenant_id: str) -> int:
        """Bytes a tenant is sending to this process now."""
        return sum(one.bytes for one in self.receptions.copy() if one.tenant_id == tenant_id)

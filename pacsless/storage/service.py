"""What the receptions of a process share."""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from pacsless.archive import Archive
from pacsless.durable import put
from pacsless.errors import PacslessError
from pacsless.outbox import DiskSpace, Outbox
from pacsless.storage.answers import Answer

if TYPE_CHECKING:
    from pacsless.storage.reception import Reception


class ObjectTooLarge(PacslessError):
    """A sender does not stop; its connection is to be ended."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be on its way."""

    object_bytes: int
    """Of one object."""
    tenant_bytes: int
    """Of all objects that one tenant is sending to this process at a time."""


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

    def check_size(self, size: int) -> None:
        """See whether one object may be as large.

        Raises
        ------
        ObjectTooLarge
            If not.
        """
        if size > self.limits.object_bytes:
            raise ObjectTooLarge("object-too-large", "an object is larger than is allowed")

    def bytes_of(self, tenant_id: str) -> int:
        """Bytes a tenant is sending to this process now."""
        return sum(one.bytes for one in self.receptions.copy() if one.tenant_id == tenant_id)


def incoming_owner(spool: Path, name: str) -> str:
    """Name of a process among all that write into one archive's incoming folder.

    Parameters
    ----------
    spool
        The process's, which has a name of its own among all spools.
    name
        Of the process, among those of the spool.
    """
    folder = os.open(spool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Who else comes first waits, and finds the name that this one gives.
        fcntl.flock(folder, fcntl.LOCK_EX)
        try:
            known = (spool / "id").read_text().strip()
        except FileNotFoundError:
            known = ""
        if not known:
            known = f"spool-{uuid.uuid4().hex[:12]}"
            put(spool, "id", known.encode())
    finally:
        os.close(folder)
    return f"{known}-{name}"

"""Instances deleted, and stored again, as stow_rs does it."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from pydicom.dataset import Dataset

from pacsless.archive.files import FileArchive
from pacsless.codec import time_at
from pacsless.events import InstanceDeleted, InstanceStored
from pacsless.identity import InstanceIdentity
from pacsless.outbox import Outbox
from pacsless.storage import deletion
from pacsless.tombstones import read_tombstone
from tests.instances import RECEIVED_NS, store

_LATER = count(1)


def delete(archive: FileArchive, *identities: InstanceIdentity) -> list[InstanceDeleted]:
    """Delete instances of one series after the other; return the events."""
    found = []
    with TemporaryDirectory() as spool:
        outbox = Outbox(Path(spool))
        for one in identities:
            intent = deletion.delete(archive, outbox, one, deletion.Deleter("ann", "192.0.2.1"))
            assert intent is not None
            deletion.clean_series(archive, one.series, {one.sop_instance_uid})
            outbox.kept(intent)
            event = read_tombstone(archive, one.tombstone_key)
            assert event is not None
            found.append(event)
        outbox.close()
    return found


def store_again(archive: FileArchive, tenant: str, dataset: Dataset) -> InstanceStored:
    """Store an instance later than those that `store` has."""
    event = store(archive, tenant, dataset)
    path = archive.local_path(event.file_path)
    received = RECEIVED_NS + next(_LATER) * 3_600_000_000_000
    os.utime(path, ns=(received, received))
    return replace(event, received_at=time_at(received))

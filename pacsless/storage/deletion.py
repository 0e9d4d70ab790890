"""Taking an instance out of the archive, so that no crash leaves half of it.

A tombstone is written beside the promise to tell of it, then the file is removed,
then everything that was made of it; what a process that was killed had promised
is finished by the next one (`pacsless.storage.recovery`), if its tombstone was
written, and else has not begun. The tombstone stays (`pacsless.tombstones`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pacsless.archive import Archive, Sealed
from pacsless.codec import now, to_record
from pacsless.events import InstanceDeleted
from pacsless.identity import InstanceIdentity, SeriesIdentity
from pacsless.metadata import prune_documents
from pacsless.outbox import Intent, Outbox
from pacsless.strict_json import dumps
from pacsless.tombstones import read_tombstone, received_at

SOURCE: Final = "/pacsless/delete"


@dataclass(frozen=True, slots=True)
class Deleter:
    """Who has instances deleted."""

    user: str
    """Subject of the verified access token; empty where there is none."""
    remote_address: str


def delete(
    archive: Archive, outbox: Outbox, identity: InstanceIdentity, deleter: Deleter
) -> Intent | None:
    """Remove the file of an instance; it is not to be read from here on, and stays away.

    Say `Outbox.kept` of the promise when `clean_series` has returned.

    Returns
    -------
    Intent or None
        The promise to tell of it; None if there is no such instance.

    Raises
    ------
    ArchiveUnavailable
        If the archive refuses. Then it may be gone, or go when this process starts again.
    JournalUnavailable
        If the promise is not durable: nothing was removed.
    """
    stat = archive.stat(identity.key)
    if stat is None:
        return None
    event = InstanceDeleted(
        tenant_id=identity.tenant_id,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        sop_instance_uid=identity.sop_instance_uid,
        file_size=stat.size,
        received_at=received_at(stat),
        deleted_at=now(),
        deleted_by=deleter.user,
        remote_address=deleter.remote_address,
    )
    tombstone = dumps(event.data())
    promised = Sealed("", len(tombstone), hashlib.sha256(tombstone).hexdigest())
    record = to_record(event, SOURCE, event.deleted_at)
    intent = outbox.intend(promised, identity.tombstone_key, [record])
    archive.replace(identity.tombstone_key, tombstone)
    _remove(archive, event)
    return intent


def finish(archive: Archive, tombstone_key: str) -> None:
    """Do what is left to do of a deletion whose tombstone is written.

    Raises
    ------
    ArchiveUnavailable
        If the archive does not answer.
    """
    event = read_tombstone(archive, tombstone_key)
    if event is not None:
        _remove(archive, event)
        clean_series(archive, event.identity.series, {event.sop_instance_uid})


def clean_series(archive: Archive, series: SeriesIdentity, deleted: Collection[str]) -> bool:
    """Remove what was made of deleted instances, or put aside beside them.

    Parameters
    ----------
    archive, series
        Where.
    deleted
        SOP Instance UIDs.

    Returns
    -------
    bool
        Whether there was anything.
    """
    found = False
    for uid in deleted:
        for stat in archive.list(f"{series.instance(uid).renditions}/"):
            archive.remove(stat.key)
            found = True
    for stat in archive.list(f"quarantine/{series.folder}/"):
        # <SOP Instance UID>.<digest>.dcm
        name = stat.key.rpartition("/")[2].removesuffix(".dcm")
        if name.rpartition(".")[0] in deleted:
            archive.remove(stat.key)
            found = True
    return prune_documents(archive, series, deleted) or found


def remove_deleted(archive: Archive, identity: InstanceIdentity) -> bool:
    """Remove the file of an instance if its deletion was cut off; return whether it was.

    Raises
    ------
    Unprocessable
        If there is something else than a tombstone in its place.
    ArchiveUnavailable
        If the archive does not answer.
    """
    event = read_tombstone(archive, identity.tombstone_key)
    return event is not None and _remove(archive, event)


def _remove(archive: Archive, event: InstanceDeleted) -> bool:
    key = event.identity.key
    stat = archive.stat(key)
    # Not one that was stored since, of which nobody said that it is to go.
    if stat is None or received_at(stat) != event.received_at:
        return False
    archive.remove(key)
    return True

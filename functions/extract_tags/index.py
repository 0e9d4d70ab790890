"""The effects: write the rows, say what became of the instances.

A batch is one transaction. Patients, studies, series and instances are written
in that order, each sorted by key, so that no two batches wait for each other in
a circle; the lock on its studies makes a batch the only writer of their series
and instances. Every statement is an upsert by natural key: a replay writes
nothing and finds the revisions it gave before, so it repeats the same events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from functions.extract_tags import sql
from functions.extract_tags.announce import Entry, instance_events
from functions.extract_tags.patients import write_patients
from functions.extract_tags.read import Read, read_batch, tags_of
from functions.extract_tags.remove import removal_events, remove
from functions.extract_tags.rows import (
    StudyKey,
    as_json,
    instance_row,
    modality_of,
    series_key,
    series_row,
    study_key,
    study_of,
    study_row,
)
from functions.extract_tags.tags import Description, Tags, best, merge_patient_ids
from pacsless.archive import size_and_sha256
from pacsless.errors import Unprocessable
from pacsless.events import Event, InstanceDeleted, InstanceStored
from pacsless.identity import InstanceIdentity, SeriesIdentity
from pacsless.states import STATES, series_revised
from pacsless.times import iso_time
from pacsless.tombstones import is_deleted

if TYPE_CHECKING:
    from pacsless.archive import Archive
    from pacsless.postgres import Database, Row, Transaction
    from pacsless.read_files import ReadFiles
    from pacsless.settings import Settings


class _StoredAgain(Exception):
    """Rows are about files that were deleted; others have their names."""

    def __init__(self, files: dict[InstanceIdentity, str]) -> None:
        super().__init__()
        self.files = files


def index(
    batch: Sequence[InstanceStored | InstanceDeleted],
    archive: Archive,
    database: Database,
    settings: Settings,
    read_files: ReadFiles | None = None,
) -> list[Event]:
    """Bring what the index says of a batch's instances up to date, and return what to publish."""
    stored = [one for one in batch if isinstance(one, InstanceStored)]
    reads = read_batch(stored, archive, settings, read_files)

    def digest(identity: InstanceIdentity) -> str:
        with archive.open(identity.key) as file:
            return size_and_sha256(file)[1]

    def read(series: SeriesIdentity) -> Iterator[Tags]:
        return tags_of(series, archive, settings, read_files)

    # What is neither read nor refused was deleted, as what an event says so of; and may
    # have been stored again, which has an event of its own.
    deleted = {one.identity for one in batch} - {one.tags.identity for one in reads}
    gone = {one: None for one in deleted if archive.stat(one.key) is None}
    if gone:
        database.run(lambda transaction: remove(transaction, gone, read))
    deleted |= {one.identity for one in batch if isinstance(one, InstanceDeleted)}
    ledger: dict[InstanceIdentity, Entry] = {}
    states: list[Row] = []
    while reads:
        try:
            ledger, states = database.run(
                lambda t: write(t, reads, digest, lambda one: is_deleted(archive, one))
            )
            break
        except _StoredAgain as stored_again:
            files = stored_again.files
            database.run(lambda transaction: remove(transaction, files, read))  # noqa: B023
            deleted |= files.keys()
    events: list[Event] = []
    revised: list[Event] = list(map(series_revised, states))
    if deleted:
        events, also = database.run(lambda transaction: removal_events(transaction, deleted))
        revised += also
    events += [
        event
        for one in reads
        if one.tags.identity in ledger
        for event in instance_events(one.event, one.tags, ledger[one.tags.identity])
    ]
    return [*events, *{one.id: one for one in revised}.values()]


def write(
    transaction: Transaction,
    reads: Sequence[Read],
    digest: Callable[[InstanceIdentity], str],
    was_deleted: Callable[[InstanceIdentity], bool],
) -> tuple[dict[InstanceIdentity, Entry], list[Row]]:
    """Write a batch's rows; return the ledger's entries and the states to publish.

    Raises
    ------
    _StoredAgain
        If rows are about files that were deleted.
    """
    tags = [one.tags for one in reads]
    write_patients(
        transaction, (((one.identity.tenant_id, one.patient_id), one.patient) for one in tags)
    )
    changed = _write_studies(transaction, tags)
    # After the locks: of two batches on a study the later one gets the larger number.
    revision = int(transaction.run(sql.NEXT_REVISION)[0][0])
    touched, studies = _write_series(transaction, tags, revision)
    if studies:
        transaction.run(sql.UPDATE_MODALITIES, rows=as_json(map(study_key, sorted(studies))))
    ledger = _write_instances(transaction, reads, revision, digest, was_deleted)
    touched |= {one.series for one, entry in ledger.items() if entry.revision == revision}
    if touched:
        transaction.run(sql.TOUCH_SERIES, rows=as_json(map(series_key, sorted(touched))),
                        revision=revision)  # fmt: skip
    if changed:
        transaction.run(sql.TOUCH_STUDIES, rows=as_json(map(study_key, sorted(changed))),
                        revision=revision)  # fmt: skip
    # Not only this batch's series: an earlier try may have committed changes to
    # others of the study and died before it could publish them.
    since: dict[StudyKey, int] = {}
    for one, entry in ledger.items():
        key = (one.tenant_id, one.study_instance_uid)
        since[key] = min(entry.revision, since.get(key, entry.revision))
    states = transaction.run(
        STATES,
        rows=as_json(study_key(key) | {"revision": first} for key, first in sorted(since.items())),
    )
    return ledger, states


def _write_studies(transaction: Transaction, tags: Sequence[Tags]) -> set[StudyKey]:
    """Write the studies, lock them, and return those that are described differently now."""
    stated = best((study_of(one), one.study) for one in tags)
    patients: dict[StudyKey, list[str]] = {}
    modalities: dict[StudyKey, set[str]] = {}
    for one in tags:
        key = study_of(one)
        patients[key] = merge_patient_ids(patients.get(key, ()), [one.patient_id])
        modalities.setdefault(key, set()).add(modality_of(one.series))
    transaction.run(
        sql.INSERT_STUDIES,
        rows=as_json(
            study_row(key, stated[key], patients[key], modalities[key]) for key in sorted(stated)
        ),
    )
    changed, updates, same = set(), [], []
    locked = transaction.run(sql.LOCK_STUDIES, rows=as_json(map(study_key, sorted(stated))))
    for tenant, study, patient_ids, described_by, count, attributes in locked:
        key = (tenant, study)
        before = Description(described_by, count, attributes)
        wins = stated[key].beats(before)
        now = stated[key] if wins else before
        everyone = merge_patient_ids(patient_ids, patients[key])
        if now.attributes != before.attributes:
            changed.add(key)
            updates.append(study_row(key, now, everyone))
        elif wins or everyone != patient_ids:
            same.append(study_row(key, now, everyone))
    if updates:
        transaction.run(sql.UPDATE_STUDIES, rows=as_json(updates))
    if same:
        transaction.run(sql.DESCRIBE_STUDIES, rows=as_json(same))
    return changed


def _write_series(
    transaction: Transaction, tags: Sequence[Tags], revision: int
) -> tuple[set[SeriesIdentity], set[StudyKey]]:
    """Write the series.

    Returns
    -------
    set, set
        Series there were that are described differently now; the studies that have
        such or new ones.
    """
    stated = best((one.identity.series, one.series) for one in tags)
    ordered = sorted(stated)
    inserted = transaction.run(
        sql.INSERT_SERIES, rows=as_json(series_row(one, stated[one], revision) for one in ordered)
    )
    studies = {(tenant, study) for tenant, study in inserted}
    changed, updates = set(), []
    found = transaction.run(sql.READ_SERIES, rows=as_json(map(series_key, ordered)))
    for tenant, study, series, described_by, count, attributes in found:
        identity = SeriesIdentity(tenant, study, series)
        now = stated[identity]
        if now.beats(Description(described_by, count, attributes)):
            updates.append(series_row(identity, now, revision))
            if now.attributes != attributes:
                changed.add(identity)
                studies.add((tenant, study))
    if updates:
        transaction.run(sql.UPDATE_SERIES, rows=as_json(updates))
    return changed, studies


def _write_instances(
    transaction: Transaction,
    reads: Sequence[Read],
    revision: int,
    digest: Callable[[InstanceIdentity], str],
    was_deleted: Callable[[InstanceIdentity], bool],
) -> dict[InstanceIdentity, Entry]:
    rows = {
        one.tags.identity: instance_row(one.event, one.tags, revision, one.file_time)
        for one in reads
    }
    ledger, replaced = {}, []
    stored_again: dict[InstanceIdentity, str] = {}
    for tenant, study, series, sop, *entry, file_time in transaction.run(
        sql.INSERT_INSTANCES, rows=as_json(rows.values())
    ):
        identity = InstanceIdentity(tenant, study, series, sop)
        found = Entry(int(entry[0]), entry[1], entry[2].isoformat(), iso_time(entry[3]))
        row = rows[identity]
        is_same_file = file_time is not None and iso_time(file_time) == row["file_time"]
        if not is_same_file and was_deleted(identity):
            stored_again[identity] = row["file_time"]
            continue
        if found.sha256 != row["sha256"]:
            # Files are the truth: whichever event names the digest of the file
            # that is there now wins, whatever order they come in.
            if digest(identity) != row["sha256"]:
                if was_deleted(identity):
                    continue  # the event is of that file
                raise Unprocessable("other-file", "Sha256 is not that of the file in the archive")
            replaced.append(row)
            found = Entry(revision, row["sha256"], found.created_date, found.received_at)
        ledger[identity] = found
    if stored_again:
        raise _StoredAgain(stored_again)
    if replaced:
        transaction.run(sql.UPDATE_INSTANCES, rows=as_json(replaced))
    return ledger

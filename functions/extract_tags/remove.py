"""The effects of a deletion: rows removed, what described others described anew, and told of.

Files are the truth here, too: a row goes because there is no file, or another one;
whichever event says so, and however often. What is left of a study is described by
the files there are, as if the others had never come.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from functions.extract_tags import sql
from functions.extract_tags.patients import forget_patients, write_patients
from functions.extract_tags.rows import (
    StudyKey,
    as_json,
    instance_key,
    series_key,
    series_row,
    study_key,
    study_row,
)
from functions.extract_tags.tags import (
    Description,
    Level,
    Tags,
    best,
    describe_levels,
    merge_patient_ids,
)
from pacsless.events import Event, InstanceUnindexed
from pacsless.identity import InstanceIdentity, SeriesIdentity
from pacsless.states import STATES, series_gone, series_revised
from pacsless.times import iso_time

if TYPE_CHECKING:
    from pacsless.postgres import Row, Transaction

Read = Callable[[SeriesIdentity], Iterable[Tags]]
"""Reads what there is of a series, one instance at a time: they do not fit into memory together."""


def remove(
    transaction: Transaction, gone: Mapping[InstanceIdentity, str | None], read: Read
) -> None:
    """Remove instances from the index.

    Parameters
    ----------
    transaction
        What is removed, is at once.
    gone
        Which, and the time of the file each has now, if it was stored again: then
        only a row that is not about that file goes.
    read
        Reads what is left of a series.
    """
    studies = sorted({_study(one) for one in gone})
    locked = transaction.run(sql.LOCK_STUDIES, rows=as_json(map(study_key, studies)))
    revision = int(transaction.run(sql.NEXT_REVISION)[0][0])
    rows = (instance_key(one) | {"file_time": gone[one]} for one in sorted(gone))
    removed = {
        InstanceIdentity(*row)
        for row in transaction.run(sql.REMOVE_INSTANCES, rows=as_json(rows), revision=revision)
    }
    if not removed:
        return
    _Removal(transaction, removed, revision, read).follow(locked)


def _study(one: InstanceIdentity | SeriesIdentity) -> StudyKey:
    return one.tenant_id, one.study_instance_uid


class _Removal:
    """What follows from instances having left the index."""

    def __init__(
        self,
        transaction: Transaction,
        removed: Collection[InstanceIdentity],
        revision: int,
        read: Read,
    ) -> None:
        self._run = transaction.run
        self._transaction, self._revision = transaction, revision
        self._described = cache(lambda series: describe_levels(read(series)))
        self._sops = {one.sop_instance_uid for one in removed}
        self._series = sorted({one.series for one in removed})
        self._studies = {_study(one) for one in self._series}

    def follow(self, locked: Sequence[Row]) -> None:
        """Remove and describe anew what the instances were of; `locked` are their studies."""
        series = as_json(map(series_key, self._series))
        # Its document or row in the warehouse counts series that are no more.
        changed = {(tenant, study) for tenant, study in self._run(sql.REMOVE_SERIES, rows=series)}
        gone = {
            (tenant, study)
            for tenant, study in self._run(
                sql.REMOVE_STUDIES, rows=as_json(map(study_key, sorted(self._studies)))
            )
        }
        affected = [row for row in locked if (row[0], row[1]) in self._studies]
        changed |= self._describe([row for row in affected if (row[0], row[1]) not in gone])
        if changed := changed - gone:
            rows = as_json(map(study_key, sorted(changed)))
            self._run(sql.UPDATE_MODALITIES, rows=rows)
            self._run(sql.TOUCH_STUDIES, rows=rows, revision=self._revision)
        self._run(sql.TOUCH_SERIES, rows=series, revision=self._revision)
        patients = {(row[0], patient) for row in affected for patient in row[2]}
        forget_patients(self._transaction, patients, self._sops, self._described_study)

    def _describe(self, studies: Sequence[Row]) -> set[StudyKey]:
        """Describe studies and series anew that a removed instance described."""
        changed: set[StudyKey] = set()
        for tenant, study, patient_ids, described_by, *_ in studies:
            key = (tenant, study)
            for uid, described_series in self._series_of(key):
                series = SeriesIdentity(tenant, study, uid)
                if described_series in self._sops and (left := self._described(series)):
                    rows = as_json([series_row(series, left["series", uid], self._revision)])
                    self._run(sql.UPDATE_SERIES, rows=rows)
                    changed.add(key)
            # Another may have stated one of several Patient IDs.
            if described_by not in self._sops and len(patient_ids) < 2:
                continue
            if left := self._described_study(key):
                patients = {name: one for (level, name), one in left.items() if level == "patient"}
                write_patients(
                    self._transaction, (((tenant, name), one) for name, one in patients.items())
                )
                row = study_row(key, left["study", ""], merge_patient_ids(patients))
                self._run(sql.UPDATE_STUDIES, rows=as_json([row]))
                changed.add(key)
        return changed

    def _series_of(self, study: StudyKey) -> list[tuple[str, str]]:
        found = self._run(sql.SERIES_OF_STUDIES, rows=as_json([study_key(study)]))
        return [(uid, described_by) for _, _, uid, described_by in found]

    def _described_study(self, study: StudyKey) -> dict[Level, Description]:
        every = (SeriesIdentity(*study, uid) for uid, _ in self._series_of(study))
        return best(pair for series in every for pair in self._described(series).items())


def removal_events(
    transaction: Transaction, deleted: Collection[InstanceIdentity]
) -> tuple[list[Event], list[Event]]:
    """Tell what became of deleted instances, the same each time.

    Returns
    -------
    list, list
        Of the instances that were in the index; of the series they were of, as they are now.
    """
    since: dict[StudyKey, int] = {}
    unindexed: list[Event] = []
    rows = as_json(instance_key(one) for one in sorted(deleted))
    for tenant, study, series, sop, revision, created, received in transaction.run(
        sql.DELETIONS, rows=rows
    ):
        since[tenant, study] = min(int(revision), since.get((tenant, study), int(revision)))
        unindexed.append(
            InstanceUnindexed(
                tenant_id=tenant,
                study_instance_uid=study,
                series_instance_uid=series,
                sop_instance_uid=sop,
                revision=int(revision),
                created_date=created.isoformat(),
                received_at=iso_time(received),
            )
        )
    if not since:
        return [], []
    rows = as_json(study_key(key) | {"revision": first} for key, first in sorted(since.items()))
    states: list[Event] = [series_revised(row) for row in transaction.run(STATES, rows=rows)]
    rows = as_json(map(series_key, sorted({one.series for one in deleted})))
    for tenant, study, uid, revision, changed_at, series, newest in transaction.run(
        sql.GONE_SERIES, rows=rows
    ):
        states.append(
            series_gone(
                SeriesIdentity(tenant, study, uid), int(revision), iso_time(changed_at),
                study_series=int(series), study_revision=int(newest),
            )
        )  # fmt: skip
    return unindexed, states

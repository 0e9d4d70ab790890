"""What was deleted, and what the index or the warehouse still has of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from pacsless.codec import now
from pacsless.events import Event, InstanceDeleted, InstanceUnindexed
from pacsless.identity import InstanceIdentity, SeriesIdentity
from pacsless.reconcile.study import Drift, Kind, Study
from pacsless.states import series_gone
from pacsless.tombstones import read_tombstone

if TYPE_CHECKING:
    from pacsless.archive import Archive

OF_DELETED: Final = frozenset({Kind.ROW_OF_DELETED, Kind.WAREHOUSE_OF_DELETED})
"""What of it drifts."""


def deletions(
    key: tuple[str, str],
    study: Study,
    drifts: Iterable[Drift],
    revision: int,
    archive: Archive,
) -> Iterator[Event]:
    """Make the events that tell again of deletions.

    Parameters
    ----------
    key, study
        Tenant and Study Instance UID, and what is known of it.
    drifts
        Of `OF_DELETED`.
    revision
        Newer than all there were: the index may have forgotten the deletions'.
    archive
        Has the tombstones.
    """
    for one in sorted(drifts):
        if not one.sop:
            # The study's own row goes with that of any of its series.
            series = one.series or min(series for series, _ in study.tombstones)
            yield series_gone(
                SeriesIdentity(*key, series), revision, now(),
                study_series=len(study.series), study_revision=revision,
            )  # fmt: skip
            continue
        identity = InstanceIdentity(*key, one.series, one.sop)
        tombstone = read_tombstone(archive, identity.tombstone_key)
        if tombstone is None:
            continue
        if one.kind is Kind.ROW_OF_DELETED:
            yield tombstone
        else:
            yield from _unindexed(study, tombstone, revision)


def _unindexed(study: Study, tombstone: InstanceDeleted, revision: int) -> Iterator[Event]:
    instance = tombstone.series_instance_uid, tombstone.sop_instance_uid
    row = study.rows.get(instance)
    for created, *which in study.images:
        if tuple(which) == instance and (row is None or row.created_date != created):
            yield InstanceUnindexed(
                tenant_id=tombstone.tenant_id,
                study_instance_uid=tombstone.study_instance_uid,
                series_instance_uid=tombstone.series_instance_uid,
                sop_instance_uid=tombstone.sop_instance_uid,
                revision=revision,
                created_date=created,
                received_at=tombstone.received_at,
            )

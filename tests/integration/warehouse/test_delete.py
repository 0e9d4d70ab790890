"""Deletions in the warehouse, and found by a sweep that nobody was told of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom import dcmread

from pacsless.events import InstanceStored
from tests.deleting import delete, store_again
from tests.site import Site

Stored = list[InstanceStored]


def images(site: Site) -> dict[str, bool]:
    rows = site.duck(
        "SELECT sop_instance_uid, is_deleted FROM pacsless.dicom_image_meta WHERE tenant_id = ?",
        site.tenant,
    )
    return {sop: bool(gone) for sop, gone in rows}


def states(site: Site) -> dict[str, tuple[bool, int | None]]:
    rows = site.duck(
        "SELECT series_instance_uid, is_deleted, number_of_study_related_instances"
        " FROM pacsless.dicom_state_meta WHERE tenant_id = ?",
        site.tenant,
    )
    return {series: (bool(gone), count) for series, gone, count in rows}


def of_patients(site: Site) -> int:
    """Rows of the warehouse that still say anything of a patient."""
    (row,) = site.duck(
        "SELECT (SELECT count(*) FROM pacsless.dicom_state_meta WHERE tenant_id = ?"
        " AND patient_name IS NOT NULL) + (SELECT count(*) FROM pacsless.dicom_image_meta"
        " WHERE tenant_id = ? AND dicom_json IS NOT NULL)",
        site.tenant, site.tenant,
    )  # fmt: skip
    return int(row[0])


def test_rows_become_tombstones_that_no_replay_revives(site: Site, neighbour: Site) -> None:
    stored = site.fill(3)
    neighbour.fill(3)
    theirs = neighbour.snapshot()
    deleted = delete(site.archive, *(one.identity for one in stored[:3]))
    site.pipeline.publish(deleted, "/tests")
    gone = {one.sop_instance_uid for one in stored[:3]}
    assert images(site) == {one.sop_instance_uid: one.sop_instance_uid in gone for one in stored}
    kept = stored[3].series_instance_uid
    assert states(site) == {
        stored[0].series_instance_uid: (True, None), kept: (False, None), "": (False, 1),
    }  # fmt: skip
    before = site.snapshot()
    site.pipeline.publish([*stored, *deleted], "/tests")
    assert site.snapshot() == before
    assert site.pipeline.dead == []
    assert set(site.reconcile().drift) == set()

    last = delete(site.archive, stored[3].identity)
    site.pipeline.publish(last, "/tests")
    assert set(images(site).values()) == {True}
    assert {gone for gone, _ in states(site).values()} == {True}
    assert of_patients(site) == 0
    assert set(site.reconcile().drift) == set()
    assert neighbour.snapshot() == theirs


def test_a_rebuild_does_not_bring_it_back(site: Site) -> None:
    stored = site.fill(3)
    deleted = delete(site.archive, stored[0].identity, stored[3].identity)
    site.pipeline.publish(deleted, "/tests")
    before = site.snapshot()
    site.rebuild.run(site.tenant, ["index", "metadata", "warehouse"], restart=True)
    assert site.snapshot() == before
    site.forget_index()
    site.forget_metadata()
    site.rebuild.run(site.tenant, ["index", "metadata", "warehouse"], restart=True)
    assert site.snapshot() == before
    assert set(site.reconcile().drift) == set()


def nobody_was_told(site: Site, stored: Stored, deleted: list[Any]) -> None:
    pass


def index_lost(site: Site, stored: Stored, deleted: list[Any]) -> None:
    site.forget_index()


def warehouse_was_not_told(site: Site, stored: Stored, deleted: list[Any]) -> None:
    load, site.pipeline.load = site.pipeline.load, lambda _events: None  # type: ignore[method-assign]
    site.pipeline.publish(deleted, "/tests")
    site.pipeline.load = load  # type: ignore[method-assign]


@pytest.mark.parametrize("whole", [True, False], ids=["the study", "some of it"])
@pytest.mark.parametrize(
    "harm", [nobody_was_told, index_lost, warehouse_was_not_told], ids=lambda one: one.__name__
)
def test_a_sweep_tells_of_what_nobody_was_told(
    site: Site, harm: Callable[[Site, Stored, list[Any]], None], whole: bool
) -> None:
    stored = site.fill(3)
    chosen = stored if whole else [stored[0], stored[3]]
    harm(site, stored, delete(site.archive, *(one.identity for one in chosen)))
    found = site.reconcile()
    assert found.drift and not any("without" in kind for kind in found.drift if "row-" in kind)
    for _ in range(3):
        site.reconcile(repair=True)
    after = site.reconcile()
    assert set(after.drift) == set(), after
    gone = {one.sop_instance_uid for one in chosen}
    assert images(site) == {one.sop_instance_uid: one.sop_instance_uid in gone for one in stored}
    ledger = site.sql("SELECT sop_instance_uid FROM instance WHERE tenant_id = :tenant")
    assert {row[0] for row in ledger} == {one.sop_instance_uid for one in stored} - gone
    assert site.pipeline.dead == []


@pytest.mark.parametrize("was_told", [True, False], ids=["of the deletion", "of neither"])
def test_a_sweep_tells_of_what_was_stored_again(site: Site, *, was_told: bool) -> None:
    stored = site.fill(3)
    one = stored[0]
    dataset = dcmread(site.archive.local_path(one.file_path))
    deleted = delete(site.archive, one.identity)
    dataset.PatientName, dataset.StudyDescription = "Roe^Richard", "Of another length"
    again = store_again(site.archive, site.tenant, dataset)
    if was_told:
        site.pipeline.publish(deleted, "/tests")
    assert again.file_size != one.file_size
    found = site.reconcile(share=1.0)
    assert "file-without-row" in found.drift and not any("other" in kind for kind in found.drift)
    for _ in range(3):
        site.reconcile(repair=True)
    assert set(site.reconcile(share=1.0).drift) == set()
    rows = site.sql("SELECT sop_instance_uid, sha256 FROM instance WHERE tenant_id = :tenant")
    digests = {other.sop_instance_uid: other.sha256 for other in stored}
    assert dict(rows) == digests | {again.sop_instance_uid: again.sha256}
    assert site.pipeline.dead == []

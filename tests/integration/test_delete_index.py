"""Deletions in the index, the documents and the change feed, in whatever order they are told of."""

from __future__ import annotations

import itertools
import weakref
from dataclasses import replace
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, generate_uid

from functions.build_metadata.build import build
from functions.extract_tags.tags import Tags, read_tags
from functions.orthanc.ids import Ids
from functions.transcode.rendition import make_rendition
from pacsless.changes import read
from pacsless.errors import Unprocessable
from pacsless.events import (
    InstanceConversionRequested,
    InstanceConverted,
    InstanceDeleted,
    InstanceIndexed,
    InstanceStored,
    InstanceUnindexed,
    Json,
    SeriesRevised,
)
from pacsless.identity import InstanceIdentity, SeriesIdentity, study_metadata_key
from pacsless.instances import find_instance, open_explicit
from pacsless.storage import deletion
from tests.deleting import delete, store_again
from tests.index import Index
from tests.instances import make_dataset, new_tenant, store

Told = InstanceStored | InstanceDeleted


def slices(count: int, **values: Any) -> list[Dataset]:
    """Slices of one series, of which the first has the lowest UID."""
    study = values.pop("StudyInstanceUID", generate_uid())
    series = generate_uid("1.2.3.")[:50].rstrip(".")
    return [
        make_dataset(
            StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number,
            SOPInstanceUID=f"{series}.{number}", **values,
        )
        for number in range(1, count + 1)
    ]  # fmt: skip


def without_feed(state: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return {table: rows for table, rows in state.items() if table != "change"}


def as_if_never(indexer: Index, *datasets: Dataset) -> dict[str, list[Any]]:
    """What a tenant's index is that never had anything else."""
    other = new_tenant()
    indexer(*(store(indexer.archive, other, one) for one in datasets))
    return {
        table: [{**row[0], "tenant_id": "?", "file_path": "?"} for row in rows]
        for table, rows in without_feed(indexer.state(other)).items()
    }


def state(indexer: Index, tenant: str) -> dict[str, list[Any]]:
    return {
        table: [{**row[0], "tenant_id": "?", "file_path": "?"} for row in rows]
        for table, rows in without_feed(indexer.state(tenant)).items()
    }


def feed(indexer: Index, tenant: str) -> list[tuple[str, str]]:
    return [(one.action, one.state) for one in read(indexer.database, tenant, 0, 200)]


def test_what_is_deleted_leaves_nothing_behind(indexer: Index, tenant: str) -> None:
    stored = [store(indexer.archive, tenant, one) for one in slices(3)]
    indexer(*stored)
    found = indexer(*delete(indexer.archive, *(one.identity for one in stored)))
    assert not any(without_feed(indexer.state(tenant)).values())
    assert feed(indexer, tenant) == [("create", "deleted")] * 3 + [("delete", "deleted")] * 3
    unindexed = [one for one in found if isinstance(one, InstanceUnindexed)]
    assert {one.identity for one in unindexed} == {one.identity for one in stored}
    (gone,) = [one for one in found if isinstance(one, SeriesRevised)]
    assert gone.number_of_series_related_instances == gone.number_of_study_related_series == 0
    assert gone.patient == gone.study == gone.series == {}
    assert gone.revision == gone.study_revision == unindexed[0].revision


def test_nobody_is_left_in_orthancs_ids(indexer: Index, tenant: str) -> None:
    stored = [store(indexer.archive, tenant, one) for one in slices(2, PatientID="P|1")]
    indexer(*stored)
    ids = Ids(indexer.database)
    ids.catch_up(tenant)
    noted = "SELECT keys FROM orthanc_id WHERE tenant_id = :tenant AND level = 'patient'"

    def patients() -> list[Any]:
        return indexer.database.run(lambda t: list(t.run(noted, tenant=tenant)))

    indexer(*delete(indexer.archive, stored[0].identity))
    assert patients() == [[["P|1"]]]
    indexer(*delete(indexer.archive, stored[1].identity))
    assert patients() == []


def test_a_replay_changes_nothing_and_repeats_the_events(indexer: Index, tenant: str) -> None:
    stored = [store(indexer.archive, tenant, one) for one in slices(3)]
    indexer(*stored)
    deleted = delete(indexer.archive, stored[0].identity, stored[1].identity)
    first = indexer(*deleted)
    before = indexer.state(tenant), indexer.revisions(tenant)
    assert indexer(*deleted) == first
    for order in itertools.permutations([*stored, *deleted]):
        indexer(*order)
    for one in [*deleted, *stored]:
        indexer(one)
    assert (indexer.state(tenant), indexer.revisions(tenant)) == before
    assert indexer(*deleted) == first


@pytest.mark.parametrize("which", [0, 1, 2])
def test_the_rest_is_described_as_if_it_had_never_come(
    indexer: Index, tenant: str, which: int
) -> None:
    """The first describes, as the lowest UID of those that state most; one has another patient."""
    datasets = slices(3)
    datasets[0].PatientName, datasets[0].StudyDescription = "Wrong^Name", "Wrong"
    datasets[0].PatientComments = "states more"
    datasets[1].PatientID = "P-2"
    datasets += slices(2, StudyInstanceUID=datasets[0].StudyInstanceUID, Modality="MR")
    stored = [store(indexer.archive, tenant, one) for one in datasets]
    indexer(*stored)
    indexer(*delete(indexer.archive, stored[which].identity))
    left = [one for number, one in enumerate(datasets) if number != which]
    assert state(indexer, tenant) == as_if_never(indexer, *left)
    # And of the whole series, which had another modality.
    others = [one for number, one in enumerate(stored[:3]) if number != which]
    found = indexer(*delete(indexer.archive, *(one.identity for one in others)))
    assert state(indexer, tenant) == as_if_never(indexer, *datasets[3:])
    revised = {one.series_instance_uid: one for one in found if isinstance(one, SeriesRevised)}
    kept, gone = (revised[stored[n].series_instance_uid] for n in (3, 0))
    assert (kept.number_of_study_related_series, kept.number_of_study_related_instances) == (1, 2)
    assert kept.revision == kept.study_revision, "it tells of the study, which has changed"
    assert (gone.number_of_series_related_instances, gone.number_of_study_related_series) == (0, 1)


class Watched(dict[str, Any]):
    """An instance's DICOM JSON of which is known whether it is still held."""


def test_what_is_left_is_read_one_instance_at_a_time(
    indexer: Index, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred kilobytes each, of up to twenty studies, are more than a worker may hold."""
    datasets = slices(60)
    datasets[0].PatientComments = "states more"
    stored = [store(indexer.archive, tenant, one) for one in datasets]
    indexer(*stored)
    held: weakref.WeakValueDictionary[str, Watched] = weakref.WeakValueDictionary()
    most = 0

    def read(identity: InstanceIdentity, document: Json) -> Tags:
        nonlocal most
        tags = read_tags(identity, document)
        watched = held[identity.key] = Watched(tags.dicom_json)
        most = max(most, len(held))
        return replace(tags, dicom_json=watched)

    with monkeypatch.context() as patch:
        patch.setattr("functions.extract_tags.read.read_tags", read)
        indexer(*delete(indexer.archive, stored[0].identity))
    assert 0 < most <= 3
    assert state(indexer, tenant) == as_if_never(indexer, *datasets[1:])


def test_a_patient_of_other_studies_stays(indexer: Index, tenant: str) -> None:
    (wrong,), (right,) = slices(1, PatientComments="states more"), slices(1)
    events = [store(indexer.archive, tenant, one) for one in (wrong, right)]
    indexer(*events)
    indexer(*delete(indexer.archive, events[0].identity))
    assert state(indexer, tenant) == as_if_never(indexer, right)


@pytest.mark.parametrize("same", [True, False], ids=["the same bytes", "other bytes"])
def test_stored_again_in_any_order_of_events(indexer: Index, same: bool) -> None:
    """Its outboxes are read one after the other, so a deletion may come before what it deleted."""
    for order in itertools.permutations(range(3)):
        for cut in ([1, 2], [1], [2], []):
            tenant = new_tenant()
            (dataset,) = slices(1)
            first = store(indexer.archive, tenant, dataset)
            (deleted,) = delete(indexer.archive, first.identity)
            if not same:
                dataset.StudyDescription = "Thorax"  # of equal length when written
                dataset.PatientName = "Doe^John"
            again = store_again(indexer.archive, tenant, dataset)
            assert (first.id == again.id) is same
            events: list[Told] = [first, deleted, again]
            ordered = [events[one] for one in order]
            edges = [0, *cut, 3]
            for start, end in itertools.pairwise(edges):
                try:
                    indexer(*ordered[start:end])
                except Unprocessable:  # the trigger halves the batch
                    for one in ordered[start:end]:
                        indexer(one)
            expected = as_if_never(indexer, dataset)
            expected["instance"][0] |= {
                "received_at": again.received_at.replace("Z", "+00:00"),
                "created_date": again.received_at[:10],
            }
            assert state(indexer, tenant) == expected, (order, cut)
            assert feed(indexer, tenant)[-1][1] == "current", (order, cut)
            before = indexer.state(tenant), indexer.revisions(tenant)
            for one in [*events, *events]:
                indexer(one)
            assert (indexer.state(tenant), indexer.revisions(tenant)) == before, (order, cut)


def test_stored_again_is_a_change_of_its_own(indexer: Index, tenant: str) -> None:
    (dataset,) = slices(1)
    first = store(indexer.archive, tenant, dataset)
    indexer(first)
    (deleted,) = delete(indexer.archive, first.identity)
    again = store_again(indexer.archive, tenant, dataset)
    indexer(deleted)
    found = indexer(again)
    assert feed(indexer, tenant) == [
        ("create", "replaced"), ("delete", "replaced"), ("create", "current"),
    ]  # fmt: skip
    assert [type(one) for one in found][:2] == [InstanceUnindexed, InstanceIndexed]
    # And gone again, by a deletion of its own.
    (second,) = delete(indexer.archive, again.identity)
    assert second.id != deleted.id
    indexer(deleted, second)
    assert not any(without_feed(indexer.state(tenant)).values())


def test_an_index_that_is_lost_is_not_given_back_what_was_deleted(
    indexer: Index, tenant: str
) -> None:
    stored = [store(indexer.archive, tenant, one) for one in slices(2)]
    indexer(*stored)
    (deleted,) = delete(indexer.archive, stored[0].identity)
    for table in ("change", "instance", "series", "study", "patient"):
        indexer.rows(f"DELETE FROM {table} WHERE tenant_id = :tenant", tenant=tenant)
    for one in [*stored, deleted]:
        indexer(one)
    assert [row[0]["sop_instance_uid"] for row in indexer.state(tenant)["instance"]] == [
        stored[1].sop_instance_uid
    ]
    assert feed(indexer, tenant) == [("create", "current")]


def test_documents_go_with_what_they_describe(indexer: Index, tenant: str) -> None:
    archive, database, settings = indexer.archive, indexer.database, indexer.settings
    stored = [store(archive, tenant, one) for one in slices(2)]
    series = stored[0].identity.series

    def built() -> tuple[list[str], int]:
        build([(series, 1)], archive, database, settings)
        files = sorted(one.key for one in archive.list(f"metadata/{tenant}/"))
        sql = "SELECT count(*) FROM metadata_document WHERE tenant_id = :tenant"
        return files, indexer.rows(sql, tenant=tenant)[0][0]

    keys = [series.metadata_key, study_metadata_key(tenant, series.study_instance_uid)]
    everything = sorted(key + end for key in keys for end in ("", ".gz")), 2
    assert built() == everything
    delete(archive, stored[0].identity)
    document = archive.open(series.metadata_key).read()
    assert stored[0].sop_instance_uid.encode() not in document, "at once"
    assert stored[1].sop_instance_uid.encode() in document
    assert built() == everything
    delete(archive, stored[1].identity)
    assert list(archive.list(f"metadata/{tenant}/")) == []
    assert built() == ([], 0)


def test_a_document_is_never_of_a_file_that_was_deleted(
    indexer: Index, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is deleted and another has its name, while the document is made."""
    from functions.build_metadata import build as module

    (dataset,) = slices(1)
    first = store(indexer.archive, tenant, dataset)
    describe, calls = module.describe_series, []

    def described(archive: Any, series: SeriesIdentity, *rest: Any) -> Any:
        made = describe(archive, series, *rest)
        if not calls:
            calls.append(series)
            delete(indexer.archive, first.identity)
            dataset.PatientName = "Roe^Jane"
            store_again(indexer.archive, tenant, dataset)
        return made

    monkeypatch.setattr(module, "describe_series", described)
    build([(first.identity.series, 1)], indexer.archive, indexer.database, indexer.settings)
    document = indexer.archive.open(first.identity.series.metadata_key).read()
    assert b"Roe^Jane" in document and b"Doe^Jane" not in document


def test_a_deleted_instance_is_not_converted(indexer: Index, tenant: str) -> None:
    stored = store(
        indexer.archive, tenant, make_dataset(pixels=bytes(8)), transfer_syntax=ExplicitVRBigEndian
    )
    (request,) = [one for one in indexer(stored) if isinstance(one, InstanceConversionRequested)]
    assert make_rendition(request, indexer.archive) is not None
    assert list(indexer.archive.list(f"{stored.identity.renditions}/"))
    delete(indexer.archive, stored.identity)
    assert make_rendition(request, indexer.archive) is None
    assert not list(indexer.archive.list(f"{stored.identity.renditions}/"))


def test_a_rendition_is_of_the_file_that_is_there(
    indexer: Index, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another is stored before what was made of the deleted one is removed."""
    archive = indexer.archive
    dataset = make_dataset(pixels=b"\1" * 8)

    def requested(stored: InstanceStored) -> InstanceConversionRequested:
        (found,) = [one for one in indexer(stored) if isinstance(one, InstanceConversionRequested)]
        return found

    def pixels(identity: InstanceIdentity) -> bytes:
        stored = find_instance(archive, *identity.key.removesuffix(".dcm").split("/"))
        with open_explicit(archive, stored) as file:
            found: bytes = dcmread(file).PixelData
            return found

    first = store(archive, tenant, dataset, ExplicitVRBigEndian)
    assert make_rendition(requested(first), archive) is not None
    with monkeypatch.context() as patch:
        patch.setattr(deletion, "clean_series", lambda *_: True)
        (deleted,) = delete(archive, first.identity)
    indexer(deleted)
    dataset.PixelData = b"\2" * 8
    again = store(archive, tenant, dataset, ExplicitVRBigEndian)
    assert list(archive.list(f"{again.identity.renditions}/"))
    assert pixels(again.identity) == dataset.PixelData
    made = make_rendition(requested(again), archive)
    assert isinstance(made, InstanceConverted)
    assert dcmread(archive.local_path(made.rendition_path)).PixelData == dataset.PixelData
    assert pixels(again.identity) == dataset.PixelData

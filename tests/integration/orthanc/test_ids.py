"""Ids are noted when somebody asks, from the change feed, and lead only to what is in the index."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from pydicom.dataset import Dataset

from functions.orthanc import ids
from functions.orthanc.ids import Ids
from functions.orthanc.levels import Level
from pacsless.orthanc_ids import orthanc_id
from tests.eventually import eventually
from tests.instances import make_dataset, new_tenant
from tests.orthanc import Site


def of(one: Dataset, level: Level = Level.INSTANCE, patient: str = "") -> str:
    uids = (one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID)
    return orthanc_id(patient or str(one.PatientID), *map(str, uids[: level.depth]))


def noted(site: Site, tenant: str) -> int:
    text = "SELECT count(*) FROM orthanc_id WHERE tenant_id = :tenant"
    return int(site.database.run(lambda t: t.run(text, tenant=tenant))[0][0])


def renamed(site: Site, tenant: str) -> list[Any]:
    text = "SELECT number FROM orthanc_renamed_study WHERE tenant_id = :tenant"
    return site.database.run(lambda t: t.run(text, tenant=tenant))


def test_storing_notes_nothing_and_asking_notes_what_is_there(site: Site) -> None:
    tenant, one = new_tenant(), make_dataset()
    site.add(one, tenant=tenant)
    assert site.json("/instances", tenant) == [of(one)]
    assert site.json("/changes", tenant)["Changes"][0]["ID"] == of(one)
    assert noted(site, tenant) == 0
    for level in Level:
        assert site.get(f"/{level.plural}/{of(one, level)}", tenant).status_code == 200
    assert noted(site, tenant) == 4
    more = [make_dataset(StudyInstanceUID=one.StudyInstanceUID) for _ in range(3)]
    site.add(*more, tenant=tenant)
    assert noted(site, tenant) == 4
    for each in more:
        assert site.json(f"/instances/{of(each)}/study", tenant)["ID"] == of(one, Level.STUDY)
    assert noted(site, tenant) == 10


def test_what_is_noted_may_be_lost(site: Site) -> None:
    tenant, one = new_tenant(), make_dataset()
    site.add(one, tenant=tenant)
    assert site.get(f"/instances/{of(one)}", tenant).status_code == 200

    def forget(transaction: Any) -> None:
        for table in ("orthanc_id", "orthanc_progress"):
            transaction.run(f"DELETE FROM {table} WHERE tenant_id = :t", t=tenant)

    site.database.run(forget)
    assert site.get(f"/instances/{of(one)}", tenant).status_code == 200


def test_an_id_that_is_none_is_not_looked_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ids, "catch_up", None)
    for path in ("0" * 40, "x", of(make_dataset()).upper()):
        assert site.get(f"/instances/{path}").status_code == 404


def test_a_patient_id_may_be_that_of_a_study_and_its_uid(site: Site) -> None:
    tenant = new_tenant()
    study = make_dataset(PatientID="A", StudyInstanceUID="1.2")
    patient = make_dataset(PatientID="A|1.2")
    site.add(study, patient, tenant=tenant)
    assert of(study, Level.STUDY) == of(patient, Level.PATIENT)
    for level, one in ((Level.STUDY, study), (Level.PATIENT, patient)):
        found = site.json(f"/{level.plural}/{of(one, level)}/instances?expand=false", tenant)
        assert found == [of(one)]


def test_one_uid_in_two_studies(site: Site) -> None:
    tenant = new_tenant()
    both = [make_dataset(SeriesInstanceUID="1.5", SOPInstanceUID="1.6") for _ in range(2)]
    site.add(*both, tenant=tenant)
    for one in both:
        assert site.json(f"/instances/{of(one)}/study", tenant)["ID"] == of(one, Level.STUDY)
    told = site.post("/tools/lookup", "1.6", tenant).json
    assert told and {one["ID"] for one in told} == set(map(of, both))


def in_another_s_name(site: Site, tenant: str, instances: int) -> list[Dataset]:
    """Instances of a study that comes to be described by another one, of another patient."""
    one = make_dataset(PatientID="before", StudyDescription=None)
    same = {"StudyInstanceUID": one.StudyInstanceUID, "PatientID": "before"}
    poor = [one, *(make_dataset(StudyDescription=None, **same) for _ in range(instances - 1))]
    site.add(*poor, tenant=tenant)
    for each in poor:
        assert site.get(f"/instances/{of(each)}", tenant).status_code == 200
    site.add(make_dataset(StudyInstanceUID=one.StudyInstanceUID, PatientID="after"), tenant=tenant)
    return poor


def test_ids_by_a_new_patient_id_are_noted_piece_by_piece(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "_AT_ONCE", 2)
    tenant = new_tenant()
    poor = in_another_s_name(site, tenant, 7)
    assert len(renamed(site, tenant)) == 1
    for one in poor:
        assert site.get(f"/instances/{of(one)}", tenant).status_code == 404
        assert site.get(f"/instances/{of(one, patient='after')}", tenant).status_code == 200
    assert renamed(site, tenant) == []


def test_a_patient_id_that_changes_meanwhile(site: Site) -> None:
    """Ids are noted by the Patient ID there was; when the other one is there, they are, too."""
    tenant, one, other = new_tenant(), make_dataset(PatientID="A"), make_dataset(PatientID="B")
    site.add(one, other, tenant=tenant)
    with site.database.transaction() as transaction:
        transaction.run(
            "UPDATE study SET patient_id = 'B' WHERE tenant_id = :t AND study_instance_uid = :s",
            t=tenant, s=str(one.StudyInstanceUID),
        )  # fmt: skip
        assert site.get(f"/instances/{of(one, patient='B')}", tenant).status_code == 404
        assert site.get(f"/instances/{of(one)}", tenant).status_code == 200
    assert site.get(f"/instances/{of(one)}", tenant).status_code == 404
    assert site.get(f"/instances/{of(one, patient='B')}", tenant).status_code == 200
    assert site.get(f"/patients/{orthanc_id('A')}", tenant).status_code == 404


def test_a_big_archive_is_caught_up_with_without_the_request(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "_AT_ONCE", 1)
    monkeypatch.setattr(ids, "_PATIENCE_SECONDS", -1.0)
    tenant, some = new_tenant(), [make_dataset() for _ in range(20)]
    site.add(*some, tenant=tenant)
    place = f"/instances/{of(some[-1])}"
    first = site.get(place, tenant)
    assert (first.status_code, first.headers["Retry-After"]) == (503, "1")
    assert first.text.endswith(".\n")
    eventually(lambda: noted(site, tenant) == 61 or None)  # one patient
    assert site.get(place, tenant).status_code == 200
    assert site.get(f"/instances/{of(make_dataset())}", tenant).status_code == 404


def test_many_who_ask_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_AT_ONCE", 3)
    tenant, some = new_tenant(), [make_dataset() for _ in range(24)]
    site.add(*some, tenant=tenant)
    found: list[int] = []

    def ask(one: Dataset) -> None:
        found.append(site.get(f"/instances/{of(one)}", tenant).status_code)

    threads = [threading.Thread(target=ask, args=(one,)) for one in some]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 24


def test_ids_of_another_tenant_are_none(site: Site) -> None:
    tenant, one = new_tenant(), make_dataset()
    site.add(one, tenant=tenant)
    assert site.get(f"/instances/{of(one)}", tenant).status_code == 200
    for path in ("", "/file", "/tags"):
        answer = site.get(f"/instances/{of(one)}{path}", site.neighbour)
        absent = site.get(f"/instances/{of(make_dataset())}{path}", site.neighbour)
        assert (answer.status_code, answer.data) == (absent.status_code, absent.data)
        assert answer.status_code == 404
    assert site.found("Instance", site.neighbour, ParentStudy=of(one, Level.STUDY)) == []

"""Resources by Orthanc's ids: what Orthanc 1.12.7 answers of the same files is what is answered."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from pydicom.uid import generate_uid

from functions.orthanc.index import Holdings, Listing
from functions.orthanc.levels import Level
from functions.orthanc.sql import Conditions
from pacsless import resources
from pacsless.orthanc_ids import orthanc_id
from tests.instances import make_dataset, new_tenant
from tests.orthanc import CT, CT_PATIENT, CT_SERIES, CT_STUDY, NOBODY, Site

# As Orthanc answers, but for what depends on when and by whom a file was stored.
PATIENT_TAGS = {
    "PatientBirthDate": "", "PatientID": "1CT1", "PatientName": "CompressedSamples^CT1",
    "PatientSex": "O",
}  # fmt: skip
PATIENT = {
    "ID": CT_PATIENT, "IsStable": False, "Labels": [], "MainDicomTags": PATIENT_TAGS,
    "Studies": [CT_STUDY], "Type": "Patient",
}  # fmt: skip
STUDY = {
    "ID": CT_STUDY,
    "IsStable": False,
    "Labels": [],
    "MainDicomTags": {
        "AccessionNumber": "", "InstitutionName": "JFK IMAGING CENTER",
        "ReferringPhysicianName": "", "StudyDate": "20040119", "StudyDescription": "e+1",
        "StudyID": "1CT1", "StudyInstanceUID": "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322",
        "StudyTime": "072730", "TimezoneOffsetFromUTC": "-0500",
    },
    "ParentPatient": CT_PATIENT,
    "PatientMainDicomTags": PATIENT_TAGS,
    "Series": [CT_SERIES],
    "Type": "Study",
}  # fmt: skip
SERIES = {
    "ExpectedNumberOfInstances": None,
    "ID": CT_SERIES,
    "Instances": [CT],
    "IsStable": False,
    "Labels": [],
    "MainDicomTags": {
        "Manufacturer": "GE MEDICAL SYSTEMS", "Modality": "CT", "SeriesDate": "19970430",
        "SeriesInstanceUID": "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322",
        "SeriesNumber": "1", "SeriesTime": "112749", "StationName": "CT01_OC0",
        "TimezoneOffsetFromUTC": "-0500",
    },
    "ParentStudy": CT_STUDY,
    "Status": "Unknown",
    "Type": "Series",
}  # fmt: skip
INSTANCE = {
    "FileSize": 39206,
    "ID": CT,
    "IndexInSeries": 1,
    "Labels": [],
    "MainDicomTags": {
        "AcquisitionNumber": "2", "ImageComments": "Uncompressed",
        "ImageOrientationPatient": "1.0\\0.0\\0.0\\0.0\\1.0\\0.0",
        "ImagePositionPatient": "-158.135803\\-179.035797\\-75.699997",
        "InstanceCreationDate": "20040119", "InstanceCreationTime": "072731",
        "InstanceNumber": "1",
        "SOPInstanceUID": "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322",
    },
    "ParentSeries": CT_SERIES,
    "Type": "Instance",
}  # fmt: skip
VOLATILE = {"LastUpdate", "FileUuid"}


def steady(found: dict[str, Any]) -> dict[str, Any]:
    assert found.keys() & VOLATILE, "it says when it was stored, or which file it is"
    return {name: value for name, value in found.items() if name not in VOLATILE}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/patients/{CT_PATIENT}", PATIENT),
        (f"/studies/{CT_STUDY}", STUDY),
        (f"/series/{CT_SERIES}", SERIES),
        (f"/instances/{CT}", INSTANCE),
        (f"/instances/{CT}/series", SERIES),
        (f"/instances/{CT}/study", STUDY),
        (f"/instances/{CT}/patient", PATIENT),
        (f"/series/{CT_SERIES}/study", STUDY),
        (f"/series/{CT_SERIES}/patient", PATIENT),
        (f"/studies/{CT_STUDY}/patient", PATIENT),
    ],
)
def test_details(site: Site, path: str, expected: dict[str, Any]) -> None:
    assert steady(site.json(path)) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/patients/{CT_PATIENT}/studies", STUDY),
        (f"/patients/{CT_PATIENT}/series", SERIES),
        (f"/patients/{CT_PATIENT}/instances", INSTANCE),
        (f"/studies/{CT_STUDY}/series", SERIES),
        (f"/studies/{CT_STUDY}/instances", INSTANCE),
        (f"/series/{CT_SERIES}/instances", INSTANCE),
    ],
)
def test_what_is_below(site: Site, path: str, expected: dict[str, Any]) -> None:
    (found,) = site.json(path)
    assert steady(found) == expected
    assert site.json(f"{path}?expand=false") == [expected["ID"]]


def test_lists_have_one_order_and_pages(site: Site) -> None:
    for level, known in zip(Level, (CT_PATIENT, CT_STUDY, CT_SERIES, CT), strict=True):
        whole = site.json(f"/{level.plural}")
        assert len(set(whole)) == len(whole) == 4 and known in whole
        assert site.json(f"/{level.plural}") == whole
        assert site.json(f"/{level.plural}?since=1&limit=2") == whole[1:3]
        assert site.json(f"/{level.plural}?since=4&limit=2") == []
        assert site.json(f"/{level.plural}?limit=0") == whole
        shown = site.json(f"/{level.plural}?expand")
        assert [one["ID"] for one in shown] == whole
        assert shown == site.json(f"/{level.plural}?expand=true&since=0&limit=9")
        assert {one["Type"] for one in shown} == {level.kind}


def test_a_list_is_read_page_by_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.orthanc.index._IDS_AT_ONCE", 3)
    monkeypatch.setattr("functions.orthanc.index._SHOWN_AT_ONCE", 2)
    whole = site.json("/instances")
    assert len(set(whole)) == 4
    assert [one["ID"] for one in site.json("/instances?expand")] == whole
    assert site.json("/instances?since=1") == whole[1:]
    index = resources.get(Holdings).of(site.tenant)
    asked = Listing(Level.SERIES, Conditions(site.tenant), since=1, limit=2)
    assert len(list(index.resources(asked))) == 2


def test_tags_are_written_as_is_asked_for(site: Site) -> None:
    short = site.json(f"/patients/{CT_PATIENT}?short")["MainDicomTags"]
    assert short == {
        "0010,0010": "CompressedSamples^CT1", "0010,0020": "1CT1", "0010,0030": "",
        "0010,0040": "O",
    }  # fmt: skip
    full = site.json(f"/patients/{CT_PATIENT}?full")["MainDicomTags"]
    assert full["0010,0020"] == {"Name": "PatientID", "Type": "String", "Value": "1CT1"}


def test_the_unidentified_are_one_patient(site: Site) -> None:
    found = site.json(f"/patients/{NOBODY}")
    assert found["MainDicomTags"] == {"PatientID": ""}
    assert orthanc_id("") == NOBODY


def test_statistics(site: Site) -> None:
    assert site.json("/statistics") | {"TotalDiskSize": "", "TotalUncompressedSize": ""} == {
        "CountInstances": 4, "CountPatients": 4, "CountSeries": 4, "CountStudies": 4,
        "TotalDiskSize": "", "TotalDiskSizeMB": 0, "TotalUncompressedSize": "",
        "TotalUncompressedSizeMB": 0,
    }  # fmt: skip
    sizes = {
        "DicomDiskSize": "39206", "DicomDiskSizeMB": 0, "DicomUncompressedSize": "39206",
        "DicomUncompressedSizeMB": 0, "DiskSize": "39206", "DiskSizeMB": 0,
        "UncompressedSize": "39206", "UncompressedSizeMB": 0,
    }  # fmt: skip
    counts = {"CountStudies": 1, "CountSeries": 1, "CountInstances": 1}
    for path in (f"patients/{CT_PATIENT}", f"studies/{CT_STUDY}", f"series/{CT_SERIES}"):
        assert site.json(f"/{path}/statistics") == sizes | counts
        counts.pop(next(iter(counts)))
    assert site.json(f"/instances/{CT}/statistics") == sizes


def test_metadata(site: Site) -> None:
    known = site.json(f"/instances/{CT}/metadata?expand")
    assert known == {
        "IndexInSeries": "1",
        "ReceptionDate": "20261123T080000",
        "SopClassUid": "1.2.840.10008.5.1.4.1.1.2",
        "TransferSyntax": "1.2.840.10008.1.2.1",
    }
    assert site.json(f"/instances/{CT}/metadata") == list(known)
    for name, value in known.items():
        assert site.get(f"/instances/{CT}/metadata/{name}").text == value
    assert site.get(f"/instances/{CT}/metadata/Origin").status_code == 404
    assert site.json(f"/studies/{CT_STUDY}/metadata") == ["LastUpdate"]


def test_system(site: Site) -> None:
    found = site.json("/system")
    assert found["Name"] == "Pacsless"
    assert found["ReadOnly"] is True
    assert found["MainDicomTags"]["Patient"] == "0010,0010;0010,0020;0010,0030;0010,0040"


def test_ids_are_hashes_of_what_is_in_the_index(site: Site) -> None:
    tenant = new_tenant()
    one = make_dataset(PatientID="Größe|1 ", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3")
    site.add(one, tenant=tenant)
    parts = ["Größe|1", "1.2", "1.2.3", str(one.SOPInstanceUID)]
    for depth, level in enumerate(Level, 1):
        digest = hashlib.sha1("|".join(parts[:depth]).encode()).hexdigest()
        expected = "-".join(digest[place : place + 8] for place in range(0, 40, 8))
        assert site.json(f"/{level.plural}", tenant) == [expected]
        assert site.json(f"/{level.plural}/{expected}", tenant)["ID"] == expected
    (series,) = site.json("/series", tenant)
    assert site.json(f"/series/{series}", tenant)["Instances"] == site.json("/instances", tenant)


def test_ids_follow_when_a_study_is_given_to_another_patient(site: Site) -> None:
    tenant, study = new_tenant(), generate_uid()
    poor = [
        make_dataset(StudyInstanceUID=study, PatientID="before", StudyDescription=None)
        for _ in range(3)
    ]
    site.add(*poor, tenant=tenant)
    before = {level: site.json(f"/{level.plural}", tenant) for level in Level}
    # It states more, so it is the one that describes the study from now on.
    site.add(make_dataset(StudyInstanceUID=study, PatientID="after"), tenant=tenant)
    now = {level: site.json(f"/{level.plural}", tenant) for level in Level}
    assert now[Level.PATIENT] == [orthanc_id("after")]
    assert now[Level.STUDY] == [orthanc_id("after", str(study))]
    for level in Level:
        assert not set(before[level]) & set(now[level])
        for gone in before[level]:
            assert site.get(f"/{level.plural}/{gone}", tenant).status_code == 404
    for one in poor:
        uids = (one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID)
        identifier = orthanc_id("after", *map(str, uids))
        assert identifier in now[Level.INSTANCE]
        found = site.json(f"/instances/{identifier}/series", tenant)
        assert found["ID"] == orthanc_id("after", *map(str, uids[:2]))
    assert site.json("/statistics", tenant)["CountPatients"] == 1


def test_a_tenant_sees_its_own_alone(site: Site) -> None:
    assert site.json("/instances", site.neighbour) == [CT]
    rtplan = "ff4ab066-ea24d22c-6206dcd5-9d5328b7-32783890"
    assert rtplan in site.json("/instances")
    stranger = new_tenant()
    for tenant in (site.neighbour, stranger):
        for path in ("", "/file", "/tags", "/preview", "/patient", "/statistics", "/frames/0/raw"):
            assert site.get(f"/instances/{rtplan}{path}", tenant).status_code == 404
    assert site.json("/statistics", stranger)["CountInstances"] == 0
    assert site.json("/patients", stranger) == []
    assert site.found("Instance", stranger) == []
    assert site.found("Instance", site.neighbour) == [CT]
    assert site.post("/tools/lookup", "1CT1", stranger).data == b"[]"
    assert site.json("/changes", site.neighbour)["Last"] == 1


@pytest.mark.parametrize(
    "identifier", ["0" * 40, "nope", CT.upper(), CT[:-1], f"{CT}0", "%00", "1"]
)
@pytest.mark.parametrize("level", [one.plural for one in Level])
def test_unknown_ids(site: Site, level: str, identifier: str) -> None:
    for path in ("", "/statistics", "/archive", "/metadata", "/series", "/file"):
        answer = site.get(f"/{level}/{identifier}{path}")
        assert answer.status_code == 404
        assert answer.text.endswith(".\n")


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "/patients/nothing", f"/instances/{CT}/nothing", f"/instances/{CT}/instances",
        f"/patients/{CT_PATIENT}/patient", f"/instances/{CT_STUDY}", f"/instances/{CT}/archive",
        f"/studies/{CT}/file", f"/series/{CT_SERIES}/patients", "/tools/find", "/modalities",
    ],
)  # fmt: skip
def test_what_is_not_there(site: Site, path: str) -> None:
    assert site.get(path).status_code in (404, 405)


@pytest.mark.parametrize(
    "query", ["since=-1", "limit=x", "limit=1.5", f"since={'9' * 30}", "limit="]
)
def test_bad_pages(site: Site, query: str) -> None:
    for path in ("/studies", f"/patients/{CT_PATIENT}/studies", "/changes"):
        answer = site.get(f"{path}?{query}")
        assert answer.status_code == 400
        assert "whole number" in answer.text

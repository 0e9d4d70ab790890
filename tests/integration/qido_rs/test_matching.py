"""QIDO-RS finds what matches, of its tenant's, and nothing else."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.instances import make_dataset, new_tenant
from tests.qido import Site, uids, value


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("PatientName=Doe^Jane", ["1.1"]),
        ("PatientName=doe^JANE", ["1.1"]),
        ("PatientName=Doe", []),
        ("PatientName=*ane*", ["1.1"]),
        ("00100010=d?e*", ["1.1"]),
        ("PatientName=müller*", ["1.3"]),
        ("PatientName=mu\u0308ller^hans^^dr.", ["1.3"]),
        ("PatientName=山田*", ["1.2"]),
        ("PatientName=*太郎", ["1.2"]),
        ("PatientName=やまだ^たろう", ["1.2"]),
        ("PatientName=yamada*=山田*", ["1.2"]),
        ("PatientName=yamada*=鈴木*", []),
        ("PatientName==山田*", ["1.2"]),
        ("PatientName=*", ["1.1", "1.2", "1.3"]),
        ("PatientName=", ["1.1", "1.2", "1.3"]),
        ("PatientID=P-1", ["1.1"]),
        ("PatientID=p-1", []),
        ("PatientID=100%25_x", ["1.2"]),
        ("PatientID=100%25*", ["1.2"]),
        ("PatientID=10?%25?x", ["1.2"]),
        ("PatientID=%25*", []),
        ("PatientID=P_1", []),
        ("AccessionNumber=A-1", ["1.1"]),
        ("00080050=B*", ["1.2"]),
        ("StudyDate=20240229", ["1.1"]),
        ("StudyDate=20200101-20240101", ["1.2"]),
        ("StudyDate=20200102-", ["1.1"]),
        ("StudyDate=-20200101", ["1.2"]),
        ("StudyTime=1430", ["1.1"]),
        ("StudyTime=143012.5", ["1.1"]),
        ("StudyTime=0700-0800", ["1.2"]),
        ("StudyDate=20240101-&StudyTime=-1500", ["1.1"]),
        ("PatientBirthDate=19700203", ["1.1", "1.3"]),
        ("ModalitiesInStudy=PT", ["1.1"]),
        ("ModalitiesInStudy=PT,MR", ["1.1", "1.2"]),
        ("ModalitiesInStudy=PT\\US", ["1.1", "1.3"]),
        ("ModalitiesInStudy=XX", []),
        ("ModalitiesInStudy=?T", ["1.1"]),
        ("StudyInstanceUID=1.1", ["1.1"]),
        ("StudyInstanceUID=1.1,1.3", ["1.1", "1.3"]),
        ("0020000d=1.2\\1.3\\9.9", ["1.2", "1.3"]),
        ("StudyID=S1", ["1.1", "1.2"]),
        ("ReferringPhysicianName=ref*", ["1.1", "1.2", "1.3"]),
        ("StudyDescription=*MR", ["1.2"]),
        ("PatientSex=F&StudyDescription=Head*", ["1.2"]),
        ("PatientName=*e*&ModalitiesInStudy=CT", ["1.1"]),
    ],
)
def test_studies_match(site: Site, query: str, expected: list[str]) -> None:
    path = "/dicom-web/studies?" + quote(query, safe="=&%*?,.\\")
    assert uids(site.found(path)) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("series?Modality=PT", ["1.1.2"]),
        ("series?PatientName=Doe*&Modality=CT", ["1.1.1"]),
        ("series?StudyDate=20200101", ["1.2.1"]),
        ("series?SeriesNumber=2", ["1.1.2"]),
        ("series?SeriesInstanceUID=1.1.1,1.2.1", ["1.1.1", "1.2.1"]),
        ("series?PerformedProcedureStepStartDate=20200101-20200103", ["1.2.1"]),
        ("series?RequestAttributesSequence.ScheduledProcedureStepID=SPS2", ["1.2.1"]),
        ("series?00400275.00400009=SPS2&00400275.00401001=RP2", ["1.2.1"]),
        # One item has to match both.
        ("series?00400275.00400009=SPS2&00400275.00401001=RP1", []),
        ("series?ScheduledProcedureStepID=SPS*&RequestedProcedureID=RP1", ["1.2.1"]),
        ("series?00400275.00400009=SPS1&00400275.00401001=*2", []),
        ("series?SeriesDescription=L*&Modality=US", ["1.3.1"]),
        ("series?SeriesDate=20200101-20200131", ["1.2.1"]),
        ("series?StationName=MR?&SeriesDate=20200105", ["1.2.1"]),
        ("series?StationName=mr1", []),
        ("studies/1.1/series", ["1.1.1", "1.1.2"]),
        ("studies/1.1/series?Modality=PT", ["1.1.2"]),
        ("studies/9.9/series", []),
    ],
)
def test_series_match(site: Site, path: str, expected: list[str]) -> None:
    assert uids(site.found(f"/dicom-web/{path}"), "0020000E") == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("studies/1.1/series/1.1.1/instances", ["1.1.1.1", "1.1.1.2", "1.1.1.3"]),
        ("studies/1.1/instances", ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.2.9", "1.1.2.10"]),
        ("studies/1.1/instances?InstanceNumber=9", ["1.1.2.9"]),
        ("studies/1.1/instances?SeriesInstanceUID=1.1.2", ["1.1.2.9", "1.1.2.10"]),
        ("instances?SOPInstanceUID=1.2.1.1,1.1.1.2", ["1.1.1.2", "1.2.1.1"]),
        ("instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.2&PatientID=100%25*", ["1.2.1.1"]),
        ("instances?Modality=US", ["1.3.1.1"]),
    ],
)
def test_instances_match(site: Site, path: str, expected: list[str]) -> None:
    assert uids(site.found(f"/dicom-web/{path}"), "00080018") == expected


@pytest.mark.parametrize(
    "text",
    ["' OR 1=1 --", "%27;DROP TABLE study;--", "\\", "%", "_", "*%*", ":p0", "$1", "?", "{}"],
)
def test_values_never_become_sql(site: Site, text: str) -> None:
    for name in ("PatientName", "PatientID", "StudyDescription", "ModalitiesInStudy",
                 "ScheduledProcedureStepID", "PatientComments"):  # fmt: skip
        answer = site.get(f"/dicom-web/series?{name}={quote(text, safe='%')}&Modality=NONE")
        assert (answer.status_code, answer.text) == (200, "[]")
    assert len(site.found("/dicom-web/studies")) == 3


def test_a_tenant_sees_its_own_and_nothing_else(site: Site) -> None:
    (other,) = site.found("/dicom-web/studies", tenant=site.neighbour)
    assert other["00100010"]["Value"] == [{"Alphabetic": "Other"}]
    assert value(other, "00201208") == 1
    for path in ("studies?StudyInstanceUID=1.2", "studies/1.2/series", "studies/1.2/instances",
                 "instances?SOPInstanceUID=1.2.1.1", "series?Modality=MR"):  # fmt: skip
        assert site.found(f"/dicom-web/{path}", tenant=site.neighbour) == []
        assert len(site.found(f"/dicom-web/{path}")) == 1


def test_a_study_with_two_patient_ids_is_found_under_both(site: Site) -> None:
    tenant = new_tenant()
    site.add(
        make_dataset(StudyInstanceUID="5.1", SOPInstanceUID="5.1.1", PatientID="LOW"),
        make_dataset(StudyInstanceUID="5.1", SOPInstanceUID="5.1.2", PatientID="HIGH"),
        make_dataset(StudyInstanceUID="5.2", PatientID="HIGH"),
        tenant=tenant,
    )
    assert uids(site.found("/dicom-web/studies?PatientID=LOW", tenant)) == ["5.1"]
    found = site.found("/dicom-web/studies?PatientID=HIGH", tenant)
    assert sorted(uids(found)) == ["5.1", "5.2"]
    assert len(site.found("/dicom-web/studies?PatientID=H*", tenant)) == 2
    # It is answered once, as one of its data sets says it, never as a mixture.
    assert {value(one, "00100020") for one in found if value(one, "0020000D") == "5.1"} == {"LOW"}

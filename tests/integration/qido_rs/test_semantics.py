"""Empty and several values, sequences, moments and timezones, private elements."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from pydicom.dataset import Dataset

from pacsless.archive import Archive
from pacsless.archive.files import FileArchive
from pacsless.postgres import Database
from pacsless.resources import override
from pacsless.settings import Settings
from tests.instances import make_dataset
from tests.qido import Site, request, uids, value
from tests.services import PostgresServer


def private(**values: object) -> Dataset:
    """An instance with a private element, in the block that is named."""
    block = int(str(values.pop("block")), 16)
    dataset = make_dataset(**values)
    dataset.add_new((0x0029, block), "LO", "ACME")
    dataset.add_new((0x0029, block << 8 | 0x01), "LO", f"in {block:02X}")
    return dataset


@pytest.fixture(scope="module")
def various(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(FileArchive(tmp_path_factory.mktemp("archive")), postgres.settings)
    code = [
        request(
            CodeValue="CT1", CodingSchemeDesignator="99X", CodeMeaning="Head", ContextUID="1.2.3"
        )
    ]
    inner = [request(LocalNamespaceEntityID="North")]
    with override({Archive: made.archive, Database: made.database, Settings: made.settings}):
        made.add(
            *(
                make_dataset(
                    StudyInstanceUID="1.1",
                    SeriesInstanceUID=f"1.1.{number}",
                    SeriesNumber=number,
                    Modality=modality,
                    StudyDate="20240301",
                    StudyTime="2330",
                    TimezoneOffsetFromUTC="+0100",
                    AdmittingDiagnosesDescription=["Cough", "Fever"],
                    ProcedureCodeSequence=code,
                )
                for number, modality in enumerate(["CT", "PT", "SR"], 1)
            ),
            make_dataset(
                StudyInstanceUID="1.2",
                SeriesInstanceUID="1.2.1",
                Modality="CT",
                StudyDate="20240302",
                StudyTime="0900",
                TimezoneOffsetFromUTC="-0530",
                AdmittingDiagnosesDescription="Cough",
                AccessionNumber="",
                SeriesNumber=None,
                IssuerOfAccessionNumberSequence=inner,
                OtherPatientIDsSequence=[
                    request(
                        PatientID="X-9",
                        IssuerOfPatientIDQualifiersSequence=[
                            request(UniversalEntityID="1.2.3", UniversalEntityIDType="ISO")
                        ],
                    ),
                    request(PatientID="X-8"),
                ],
            ),
            make_dataset(
                StudyInstanceUID="1.3",
                SeriesInstanceUID="1.3.1",
                Modality="",
                StudyDate="not a date",
                StudyTime="",
                AccessionNumber=None,
            ),
            make_dataset(
                StudyInstanceUID="1.4",
                SeriesInstanceUID="1.4.1",
                Modality="MR",
                StudyDate=None,
                StudyTime="2330",
            ),
            *(
                private(
                    block=block,
                    StudyInstanceUID="1.5",
                    SeriesInstanceUID="1.5.1",
                    SOPInstanceUID=f"1.5.1.{block}",
                    StudyDate="20240310",
                    Modality="US",
                )
                for block in ("10", "12")
            ),
        )
        yield made
    made.database.close()


def found(site: Site, query: str, level: str = "studies") -> list[str]:
    tag = {"studies": "0020000D", "series": "0020000E"}[level]
    return sorted(uids(site.found(f"/dicom-web/{level}?{quote(query, safe='=&*')}"), tag))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('AccessionNumber=""', ["1.2", "1.3"]),
        ('StudyTime=""', ["1.3"]),
        ('StudyDate=""', ["1.4"]),  # what is no date is a value
        ('ModalitiesInStudy=""', ["1.3"]),
        ('TypeOfPatientID=""', ["1.1", "1.2", "1.3", "1.4", "1.5"]),
        ('AdmittingDiagnosesDescription=""', ["1.3", "1.4", "1.5"]),
        ('ProcedureCodeSequence=""', ["1.2", "1.3", "1.4", "1.5"]),
        ('OtherPatientIDsSequence.TypeOfPatientID=""&PatientID=P-1', ["1.2"]),
        ('PatientID=""', []),
        ('AccessionNumber=""&Modality=CT', ["1.2"]),
    ],
)
def test_empty_value_matching(various: Site, query: str, expected: list[str]) -> None:
    if "Modality=" in query:
        assert found(various, f"{query}&emptyvaluematching=true", "series") == ["1.2.1"]
    else:
        assert found(various, f"{query}&emptyvaluematching=true") == expected


def test_without_empty_value_matching_two_quotes_are_text(various: Site) -> None:
    assert found(various, 'AccessionNumber=""') == []
    assert various.get('/dicom-web/studies?StudyDate=""').status_code == 400
    assert found(various, 'SeriesNumber=""&emptyvaluematching=true', "series") == ["1.2.1"]


@pytest.mark.parametrize(
    ("query", "several", "one"),
    [
        ("ModalitiesInStudy=CT\\PT", ["1.1"], ["1.1", "1.2"]),
        ("ModalitiesInStudy=PT\\CT\\SR", ["1.1"], ["1.1", "1.2"]),
        ("ModalitiesInStudy=CT\\MR", [], ["1.1", "1.2", "1.4"]),
        ("ModalitiesInStudy=CT", ["1.1", "1.2"], ["1.1", "1.2"]),
        ("AdmittingDiagnosesDescription=Fever\\Cough", ["1.1"], []),
        ("AdmittingDiagnosesDescription=Cough", ["1.1", "1.2"], ["1.1", "1.2"]),
        ("StudyInstanceUID=1.1\\1.2", ["1.1", "1.2"], ["1.1", "1.2"]),
    ],
)
def test_multiple_value_matching(
    various: Site, query: str, several: list[str], one: list[str]
) -> None:
    assert found(various, f"{query}&multiplevaluematching=true") == several
    assert found(various, query) == one


def test_multiple_values_have_no_wild_cards(various: Site) -> None:
    path = "/dicom-web/studies?multiplevaluematching=true&ModalitiesInStudy=C*%5CPT"
    assert various.get(path).status_code == 400


ISSUER = "OtherPatientIDsSequence.IssuerOfPatientIDQualifiersSequence.UniversalEntityID"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ProcedureCodeSequence.CodeValue=CT1", ["1.1"]),
        ("00081032.00080100=CT*&00081032.00080104=H?ad", ["1.1"]),
        ("ProcedureCodeSequence.CodeValue=CT1&ProcedureCodeSequence.CodeMeaning=Foot", []),
        ("IssuerOfAccessionNumberSequence.LocalNamespaceEntityID=North", ["1.2"]),
        ("OtherPatientIDsSequence.PatientID=X-8", ["1.2"]),
        ("ProcedureCodeSequence.ContextUID=1.2.3,9.9", ["1.1"]),
        ("ProcedureCodeSequence.ContextUID=9.9,1.2.3", ["1.1"]),
        ("ProcedureCodeSequence.ContextUID=9.8,9.9", []),
        ("OtherPatientIDsSequence.PatientID=X-9&OtherPatientIDsSequence.PatientID=X-8", []),
        (f"OtherPatientIDsSequence.PatientID=X-9&{ISSUER}=1.2.3", ["1.2"]),
        # The identifier and the issuer of two items.
        (f"OtherPatientIDsSequence.PatientID=X-8&{ISSUER}=1.2.3", []),
    ],
)
def test_sequences(various: Site, query: str, expected: list[str]) -> None:
    assert found(various, query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # One range of moments: from 23:00 of the first day to 10:00 of the second.
        ("StudyDate=20240301-20240302&StudyTime=2300-1000", ["1.1", "1.2"]),
        ("StudyDate=20240301-20240302&StudyTime=2300-0859", ["1.1"]),
        ("StudyDate=20240301-20240302&StudyTime=2331-1000", ["1.2"]),
        ("StudyDate=20240301-&StudyTime=2331-", ["1.2", "1.5"]),
        ("StudyDate=-20240302&StudyTime=-0859", ["1.1"]),
        # Of different form: each for itself.
        ("StudyDate=20240301-20240302&StudyTime=2300-", ["1.1"]),
        ("StudyDate=20240302&StudyTime=0800-1000", ["1.2"]),
        ("StudyTime=2300-", ["1.1", "1.4"]),
        # Each of several has to match, whichever comes last.
        ("StudyTime=0800-&StudyTime=-1000", ["1.2"]),
        ("StudyTime=-1000&StudyTime=0800-", ["1.2"]),
        ("StudyDate=20240301-&StudyTime=2300-&StudyTime=-1000", ["1.2"]),
        ("StudyDate=20240301-&StudyDate=-20240301", ["1.1"]),
    ],
)
def test_a_date_and_a_time_are_one_moment(various: Site, query: str, expected: list[str]) -> None:
    assert found(various, query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # 23:30+01:00 is 22:30 UTC and 00:30+02:00 of the next day.
        ("StudyDate=20240302&TimezoneOffsetFromUTC=+0200", ["1.1", "1.2"]),
        ("StudyDate=20240301&TimezoneOffsetFromUTC=+0100", ["1.1"]),
        ("StudyDate=20240301&TimezoneOffsetFromUTC=+0200", []),
        ("StudyTime=0030&TimezoneOffsetFromUTC=+0200", ["1.1"]),
        ("StudyTime=1430&TimezoneOffsetFromUTC=+0000", ["1.2", "1.5"]),
        ("StudyDate=20240302-20240302&StudyTime=0000-0100&TimezoneOffsetFromUTC=+0200", ["1.1"]),
        ("StudyDate=20240301-20240301&StudyTime=2230-2230&TimezoneOffsetFromUTC=+0000", ["1.1"]),
        # Who states no timezone is taken as in the query's.
        ("StudyDate=20240310&TimezoneOffsetFromUTC=-1200", ["1.5"]),
        ("TimezoneOffsetFromUTC=*&StudyDate=20240301", ["1.1"]),
        ("PatientBirthDate=19700203&StudyDate=20240301&TimezoneOffsetFromUTC=+0100", ["1.1"]),
    ],
)
def test_the_timezone_of_a_query(various: Site, query: str, expected: list[str]) -> None:
    assert found(various, query) == expected


def test_a_plus_sign_may_arrive_as_a_space(various: Site) -> None:
    path = "/dicom-web/studies?StudyDate=20240302&TimezoneOffsetFromUTC="
    assert various.get(f"{path}+0200").text == various.get(f"{path}%2B0200").text
    for wrong in ("0200", "%2B2500", "UTC", "%2B02:00"):
        assert various.get(path + wrong).status_code == 400


def test_private_elements_come_with_their_creator(various: Site) -> None:
    path = "/dicom-web/studies/1.5/instances?includefield=00291001"
    by_block = various.get(path)
    first, second = by_block.json or []
    assert value(first, "00291001") == "in 10" and value(first, "00290010") == "ACME"
    assert "00291001" not in second and "00291201" not in second
    # Whose it is matters and not the block, which each instance chooses for itself.
    first, second = various.found(f"{path}&00290010=ACME")
    assert value(first, "00291001") == "in 10" and value(first, "00290010") == "ACME"
    assert value(second, "00291201") == "in 12" and value(second, "00290012") == "ACME"
    first, second = various.found(f"{path}&00290010=OTHER")
    assert not any(tag.startswith("0029") for tag in first | second)
    assert "Warning" not in various.get(f"{path}&00290010=ACME").headers


def test_modalities_follow_the_series(various: Site) -> None:
    (study,) = various.found("/dicom-web/studies?StudyInstanceUID=1.1")
    assert study["00080061"]["Value"] == ["CT", "PT", "SR"]
    various.add(
        make_dataset(StudyInstanceUID="1.1", SeriesInstanceUID="1.1.9", Modality="NM"),
        make_dataset(StudyInstanceUID="1.9", SeriesInstanceUID="1.9.1", Modality="RF"),
        tenant=various.neighbour,
    )
    assert found(various, "ModalitiesInStudy=NM") == []
    various.add(make_dataset(StudyInstanceUID="1.4", SeriesInstanceUID="1.4.2", Modality="KO"))
    (study,) = various.found("/dicom-web/studies?ModalitiesInStudy=KO")
    assert study["00080061"]["Value"] == ["KO", "MR"]
    assert found(various, "ModalitiesInStudy=K*") == ["1.4"]

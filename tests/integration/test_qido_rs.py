"""QIDO-RS over HTTP on a real PostgreSQL, asked by hand and by dicomweb-client."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Sequence
from email import message_from_bytes
from typing import Any
from urllib.parse import quote

import pytest
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from functions.extract_tags.index import index
from pacsless import dicomweb
from pacsless.archive import Archive
from pacsless.archive.files import FileArchive
from pacsless.dicom import document
from pacsless.identity import InstanceIdentity
from pacsless.metadata import describe_instance
from pacsless.postgres import Database
from pacsless.resources import override
from pacsless.settings import Settings
from pacsless.web import TENANT_HEADER
from tests import native_model
from tests.instances import make_dataset, new_tenant, store
from tests.services import PostgresServer, app_of

JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"


class Site:
    """A function with an index behind it."""

    def __init__(self, archive: FileArchive, settings: Settings) -> None:
        self.archive, self.settings = archive, settings
        self.database = Database.from_settings(settings)
        self.app = app_of("qido_rs")
        self.tenant = new_tenant()

    def add(self, *datasets: Dataset, tenant: str = "") -> None:
        events = [store(self.archive, tenant or self.tenant, one) for one in datasets]
        index(events, self.archive, self.database, self.settings)

    def get(self, path: str, tenant: str = "", **headers: str) -> TestResponse:
        headers = {TENANT_HEADER: tenant or self.tenant, **headers}
        return self.app.test_client().get(
            path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    def found(self, path: str, tenant: str = "") -> list[dict[str, Any]]:
        answer = self.get(path, tenant)
        assert answer.status_code == 200, answer.text
        assert answer.content_type == "application/dicom+json"
        return json.loads(answer.text)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def site(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(FileArchive(tmp_path_factory.mktemp("archive")), postgres.settings)
    resources = {Archive: made.archive, Database: made.database, Settings: made.settings}
    with override(resources):
        made.add(
            *(
                make_dataset(
                    StudyInstanceUID="1.1",
                    SeriesInstanceUID=f"1.1.{series}",
                    SOPInstanceUID=f"1.1.{series}.{number}",
                    SeriesNumber=series,
                    InstanceNumber=number,
                    Modality={1: "CT", 2: "PT"}[series],
                )
                for series, number in [(1, 3), (1, 1), (1, 2), (2, 10), (2, 9)]
            ),
            make_dataset(
                StudyInstanceUID="1.2",
                SeriesInstanceUID="1.2.1",
                SOPInstanceUID="1.2.1.1",
                PatientName=JAPANESE,
                PatientID="100%_x",
                StudyDate="20200101",
                StudyTime="0730",
                AccessionNumber="B*1",
                Modality="MR",
                StudyDescription="Head MR",
                PatientBirthDate="",
                PerformedProcedureStepStartDate="20200102",
                SeriesDate="2020.01.05",
                StationName="MR1",
                RequestAttributesSequence=[
                    request(ScheduledProcedureStepID="SPS1", RequestedProcedureID="RP1"),
                    request(ScheduledProcedureStepID="SPS2", RequestedProcedureID="RP2"),
                ],
                NumberOfFrames=7,
            ),
            make_dataset(
                StudyInstanceUID="1.3",
                SeriesInstanceUID="1.3.1",
                SOPInstanceUID="1.3.1.1",
                PatientName="MÜLLER^Hans^^Dr.",
                PatientID="",
                StudyDate="not a date",
                StudyTime=None,
                AccessionNumber=None,
                Modality="US",
                StudyID=None,
            ),
        )
        made.add(make_dataset(StudyInstanceUID="1.1", PatientName="Other"), tenant="othertenant")
        yield made
    made.database.close()


def request(**values: str) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def value(answer: dict[str, Any], tag: str) -> Any:
    return answer[tag]["Value"][0]


def uids(answers: Sequence[dict[str, Any]], tag: str = "0020000D") -> list[str]:
    return [value(one, tag) for one in answers]


def test_all_studies_newest_first_with_what_the_standard_requires(site: Site) -> None:
    answers = site.found("/dicom-web/studies")
    assert uids(answers) == ["1.1", "1.2", "1.3"]
    first = answers[0]
    assert list(first) == sorted(first)
    # PS3.18 Table 10.6.3-3
    required = """
        00080020 00080030 00080050 00080056 00080061 00080090 00081190 00100010 00100020
        00100030 00100040 0020000D 00200010 00201206 00201208
    """
    for tag in required.split():
        assert all(tag in one and "vr" in one[tag] for one in answers), tag
    assert first["00080061"] == {"vr": "CS", "Value": ["CT", "PT"]}
    assert first["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
    assert value(first, "00081190") == "http://localhost/dicom-web/studies/1.1"
    assert (value(first, "00201206"), value(first, "00201208")) == (2, 5)
    assert first["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Doe^Jane"}]}
    assert "00080060" not in first and "00081040" not in first
    assert answers[1]["00100010"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]
    # Absent and empty alike are empty, and a bad date is answered as it was sent.
    assert answers[2]["00080050"] == {"vr": "SH"}
    assert answers[2]["00100020"] == {"vr": "LO"}


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


def test_series_are_answered_with_their_study_only_above_one(site: Site) -> None:
    (everywhere,) = site.found("/dicom-web/series?SeriesInstanceUID=1.1.2")
    (below,) = site.found("/dicom-web/studies/1.1/series?SeriesInstanceUID=1.1.2")
    assert value(everywhere, "00201209") == value(below, "00201209") == 2
    assert value(below, "00081190") == "http://localhost/dicom-web/studies/1.1/series/1.1.2"
    assert value(below, "0020000D") == "1.1"
    assert value(everywhere, "00100020") == "P-1"
    assert (value(everywhere, "00201208"), value(everywhere, "00080061")) == (5, "CT")
    assert "00100020" not in below and "00201208" not in below
    (asked,) = site.found(
        "/dicom-web/studies/1.1/series?Modality=PT&includefield=PatientID,00201206"
    )
    assert (value(asked, "00100020"), value(asked, "00201206")) == ("P-1", 2)


def test_includefield(site: Site) -> None:
    (plain,) = site.found("/dicom-web/studies?StudyInstanceUID=1.2")
    assert value(plain, "00081030") == "Head MR"
    (series,) = site.found("/dicom-web/studies/1.2/series")
    assert "00081090" not in series
    (repeated,) = site.found(
        "/dicom-web/studies/1.1/series/1.1.1/instances?InstanceNumber=2"
        "&includefield=00280002&includefield=PhotometricInterpretation,BitsStored"
    )
    assert value(repeated, "00280002") == 1
    assert value(repeated, "00280004") == "MONOCHROME2"
    assert value(repeated, "00280101") == 16
    (everything,) = site.found(
        "/dicom-web/studies/1.1/series/1.1.1/instances?InstanceNumber=2&includefield=all"
    )
    assert {"00280103", "00080060", "00100010"} <= set(everything)


def test_instances_have_image_attributes_before_and_after_the_document_is_built(
    site: Site,
) -> None:
    path = "/dicom-web/studies/1.2/instances"
    (before,) = site.found(path)
    assert [value(before, tag) for tag in ("00280008", "00280010", "00280011", "00280100")] == [
        7, 2, 2, 16,
    ]  # fmt: skip
    assert value(before, "00080016") == "1.2.840.10008.5.1.4.1.1.2"
    assert value(before, "00081190").endswith("/studies/1.2/series/1.2.1/instances/1.2.1.1")
    identity = InstanceIdentity(site.tenant, "1.2", "1.2.1", "1.2.1.1")
    entry = describe_instance(site.archive, identity, site.settings)
    site.archive.replace(identity.series.metadata_key, document.compose([entry], 0))
    assert site.found(path) == [before]
    # Neither document nor object: the ledger's own attributes are still answered.
    site.archive.replace(identity.series.metadata_key, b"[{]")
    hidden = site.archive.local_path(identity.key)
    hidden.rename(hidden.with_suffix(".away"))
    try:
        (bare,) = site.found(path)
        assert "00280010" not in bare and value(bare, "00080018") == "1.2.1.1"
    finally:
        hidden.with_suffix(".away").rename(hidden)
        site.archive.remove(identity.series.metadata_key)


def test_pages_neither_overlap_nor_leave_gaps(site: Site) -> None:
    pages = [
        site.get(f"/dicom-web/studies/1.1/instances?limit=2&offset={offset}")
        for offset in (0, 2, 4, 6)
    ]
    found = [one for page in pages for one in uids(json.loads(page.text), "00080018")]
    assert found == ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.2.9", "1.1.2.10"]
    assert [page.headers.get("Warning") is not None for page in pages] == [True, True, False, False]
    assert "additional results" in pages[0].headers["Warning"]
    assert site.found("/dicom-web/studies?limit=0") == []


def test_no_match_is_an_empty_array(site: Site) -> None:
    answer = site.get("/dicom-web/studies?PatientID=nobody")
    assert (answer.status_code, answer.text) == (200, "[]")


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1", "limit=x", "offset=1e3", "offset=99999999999", "StudyDate=yesterday",
        "StudyDate=20240230", "StudyDate=20240101-20249999", "StudyTime=25", "SeriesNumber=one",
        "StudyInstanceUID=1.2.*", "StudyInstanceUID=../..", "fuzzymatching=perhaps",
        "PatientName=a%00b", "PatientName=" + "x" * 70_000,
    ],
)  # fmt: skip
def test_malformed_values_are_refused_and_not_quoted(site: Site, query: str) -> None:
    answer = site.get(f"/dicom-web/series?{query}")
    assert answer.status_code == 400, answer.text
    assert len(answer.text) < 200
    assert query.partition("=")[2][:20] not in answer.text or len(query) < 14


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("fuzzymatching=true", "Only literal matching has been performed"),
        ("emptyvaluematching=true", "Empty Value Matching has not been performed"),
        ("orderby=StudyDate", "unknown"),
        ("Rows=512", "Matching on Rows is not supported"),
        ("Modality=CT", "Matching on Modality is not supported here"),
        ("includefield=Nonsense", "names no attribute"),
    ],
)
def test_what_is_ignored_is_said(site: Site, query: str, sentence: str) -> None:
    answer = site.get(f"/dicom-web/studies?{query}")
    assert len(json.loads(answer.text)) == 3
    assert answer.headers["Warning"].startswith("299 http://localhost/dicom-web: ")
    assert sentence in answer.headers["Warning"]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/dicom+json", "application/dicom+json"),
        ("application/json", "application/json"),
        ("application/dicom+json, application/json", "application/dicom+json"),
        ("application/json, */*;q=0.1", "application/json"),
        ('multipart/related; type="application/dicom+xml";q=0.5, */*', "application/dicom+json"),
        ("application/dicom+xml", None),
        ("text/html", None),
        ("application/dicom+json;q=0", None),
    ],
)
def test_accept(site: Site, accept: str, expected: str | None) -> None:
    answer = site.get("/dicom-web/studies", Accept=accept)
    assert (answer.status_code, answer.content_type if expected else None) == (
        (200, expected) if expected else (406, None)
    )


XML = 'multipart/related; type="application/dicom+xml"'


@pytest.mark.parametrize(
    "path",
    [
        "studies",
        "studies?limit=1&includefield=all",
        "series?includefield=RequestAttributesSequence",
        "studies/1.1/series",
        "instances?limit=3&offset=1",
        "studies/1.2/instances?includefield=all",
        "studies/1.1/series/1.1.2/instances",
    ],
)
@pytest.mark.parametrize("accept", [XML, f"{XML.replace(chr(34), '')}, */*;q=0.5"])
def test_xml_says_what_json_says(site: Site, path: str, accept: str) -> None:
    said = site.get(f"/dicom-web/{path}")
    told = site.get(f"/dicom-web/{path}", Accept=accept)
    assert [native_model.read(body) for body in xml_parts(told)] == json.loads(said.text) != []
    assert told.headers.getlist("Warning") == said.headers.getlist("Warning")
    assert told.headers["Cache-Control"] == "no-store"


def xml_parts(answer: TestResponse) -> list[bytes]:
    assert answer.status_code == 200, answer.text
    content_type = answer.headers["Content-Type"]
    assert re.fullmatch(re.escape(XML) + "; boundary=[0-9a-f]{32}", content_type)
    message = message_from_bytes(f"Content-Type: {content_type}\n\n".encode() + answer.data)
    found = [one for one in message.walk() if one is not message]
    assert {one.get_content_type() for one in found} == {"application/dicom+xml"}
    bodies = [one.get_payload(decode=True) for one in found]
    return [body for body in bodies if isinstance(body, bytes)]


def test_xml_is_asked_for_in_a_link_too(site: Site) -> None:
    for accept in (quote(XML), "multipart/related;type=application/dicom+xml"):
        assert len(xml_parts(site.get(f"/dicom-web/studies?accept={accept}"))) == 3


def test_no_match_in_xml_is_no_content(site: Site) -> None:
    answer = site.get("/dicom-web/studies?PatientID=nobody&fuzzymatching=true", Accept=XML)
    assert (answer.status_code, answer.data) == (204, b"")
    assert "literal matching" in answer.headers["Warning"]


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
    (other,) = site.found("/dicom-web/studies", tenant="othertenant")
    assert other["00100010"]["Value"] == [{"Alphabetic": "Other"}]
    assert value(other, "00201208") == 1
    for path in ("studies?StudyInstanceUID=1.2", "studies/1.2/series", "studies/1.2/instances",
                 "instances?SOPInstanceUID=1.2.1.1", "series?Modality=MR"):  # fmt: skip
        assert site.found(f"/dicom-web/{path}", tenant="othertenant") == []
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


def test_study_list_of_ohif(site: Site) -> None:
    path = (
        "/dicom-web/studies?limit=101&offset=0&fuzzymatching=false"
        "&includefield=00081030%2C00080060&PatientName=*doe*&StudyDate=20240101-20241231"
        "&ModalitiesInStudy=CT"
    )
    (study,) = site.found(path)
    assert value(study, "0020000D") == "1.1"
    assert value(study, "00081030") == "Chest"


def test_a_study_without_a_modality_does_not_break_the_study_list_of_ohif(site: Site) -> None:
    """OHIF 3.13 reads ``.Value.length`` of ModalitiesInStudy whenever the element is there."""
    site.add(make_dataset(StudyInstanceUID="1.9", Modality=""), tenant="nomodality")
    (study,) = site.found("/dicom-web/studies", tenant="nomodality")
    assert "00080061" not in study


def test_dicomweb_client_searches(site: Site) -> None:
    def app(environ: dict[str, Any], respond: Any) -> Any:
        environ["HTTP_X_PACSLESS_TENANT"] = site.tenant
        return site.app.wsgi_app(environ, respond)

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        client = DICOMwebClient(f"http://127.0.0.1:{server.server_port}/dicom-web")
        studies = client.search_for_studies(
            fields=["StudyDescription"], search_filters={"PatientName": "*山田*"}
        )
        assert uids(studies) == ["1.2"]
        assert Dataset.from_json(studies[0]).PatientName.ideographic == "山田^太郎"
        assert len(client.search_for_studies(limit=2, get_remaining=True)) == 3
        assert len(client.search_for_series("1.1")) == 2
        assert len(client.search_for_series(search_filters={"Modality": "US"})) == 1
        instances = client.search_for_instances("1.1", "1.1.1", fields=["Rows"])
        assert [Dataset.from_json(one).InstanceNumber for one in instances] == [1, 2, 3]
        assert client.search_for_instances("1.1", search_filters={"InstanceNumber": "9"})
        assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_unknown_paths_and_uids(site: Site) -> None:
    assert site.get("/dicom-web/patients").status_code == 404
    assert site.get("/dicom-web/studies/1.a/series").status_code == 400
    assert site.app.test_client().post("/dicom-web/studies").status_code == 405


def test_retrieve_urls_are_where_wado_rs_answers(site: Site) -> None:
    (instance,) = site.found("/dicom-web/instances?SOPInstanceUID=1.3.1.1")
    identity = InstanceIdentity(site.tenant, "1.3", "1.3.1", "1.3.1.1")
    assert value(instance, "00081190") == dicomweb.instance_url(
        "http://localhost/dicom-web", identity
    )


def test_without_its_database_it_is_unavailable(site: Site) -> None:
    absent = Database.from_settings(Settings(postgres="postgresql://nobody@127.0.0.1:1/none"))
    with override({Database: absent}):
        answer = site.get("/dicom-web/studies")
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers

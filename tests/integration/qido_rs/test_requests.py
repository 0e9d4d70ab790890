"""What may be asked of QIDO-RS and how, by hand, by OHIF and by dicomweb-client."""

from __future__ import annotations

import json
import threading
from typing import Any
from urllib.parse import quote

import pytest
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset
from werkzeug.serving import make_server

from functions.qido_rs import search
from functions.qido_rs.query import Query
from functions.qido_rs.sql import build
from pacsless import searches
from pacsless.postgres import Database
from pacsless.resources import override
from pacsless.settings import Settings
from pacsless.statement import Statement
from tests.qido import Site, uids, value
from tests.wado import XML, native_models


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1", "limit=x", "offset=1e3", "offset=99999999999", "StudyDate=yesterday",
        "StudyDate=20240230", "StudyDate=20240101-20249999", "StudyTime=25", "SeriesNumber=one",
        "StudyInstanceUID=1.2.*", "StudyInstanceUID=../..", "fuzzymatching=perhaps",
        "PatientName=a%00b", "PatientName=" + "x" * 70_000, "PatientName=" + "x" * 1_100,
        "PatientName=%ED%A0%80%00", "PatientName=" + "*a" * 17, "StudyDescription=" + "*a" * 400,
        "PatientID=" + "%3Fa" * 17, "PatientName=" + "a%20" * 17 + "b&fuzzymatching=true",
        "emptyvaluematching=1", "multiplevaluematching=", "StudyDate=-", "StudyTime=-",
        "StudyDate=20240101-20240102-20240103", "TimezoneOffsetFromUTC=Z",
        "ProcedureCodeSequence=CT1", "StudyInstanceUID=" + ",".join(["1.2"] * 1_001),
        "&".join(["PatientID=P-1"] * 10_000), "&".join(f"x{one}=1" for one in range(201)),
    ],
)  # fmt: skip
def test_malformed_values_are_refused_and_not_quoted(site: Site, query: str) -> None:
    answer = site.get(f"/dicom-web/series?{query}")
    assert answer.status_code == 400, answer.text
    assert len(answer.text) < 200
    assert query.partition("=")[2][:20] not in answer.text or len(query) < 24


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("SeriesTime=10", "Matching on SeriesTime is not supported here"),
        ("RequestAttributesSequence.Rows=1", "Matching on Rows is not supported here"),
        ("ProcedureCodeSequence.CodeValue.CodeValue=1", "Matching on CodeValue is not supported"),
        (f"{'.'.join(['ProcedureCodeSequence'] * 50)}.CodeValue=1", "is not supported here"),
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


def test_xml_is_asked_for_in_a_link_too(site: Site) -> None:
    for accept in (quote(XML), "multipart/related;type=application/dicom+xml"):
        assert len(native_models(site.get(f"/dicom-web/studies?accept={accept}"))) == 3


def test_study_list_of_ohif(site: Site) -> None:
    path = (
        "/dicom-web/studies?limit=101&offset=0&fuzzymatching=false"
        "&includefield=00081030%2C00080060&PatientName=*doe*&StudyDate=20240101-20241231"
        "&ModalitiesInStudy=CT"
    )
    (study,) = site.found(path)
    assert value(study, "0020000D") == "1.1"
    assert value(study, "00081030") == "Chest"


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


def test_without_its_database_it_is_unavailable(site: Site) -> None:
    absent = Database.from_settings(Settings(postgres="postgresql://nobody@127.0.0.1:1/none"))
    with override({Database: absent}):
        answer = site.get("/dicom-web/studies")
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize("several", ["PatientName", "StudyDescription", "PatientID", "PatientAge"])
def test_as_many_wild_cards_as_there_may_be(site: Site, several: str) -> None:
    """Each star may go through the rest again: sixteen of them end, whatever they meet."""
    path = f"/dicom-web/studies?{several}={'*a' * 8}{'*b' * 7}*"
    assert site.get(path).text == "[]"


BROAD = "/dicom-web/instances?PatientComments=*a*b*"


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Searches take half a second, and are given less at the first try."""

    def slower(query: Query, tenant_id: str) -> Statement:
        statement = build(query, tenant_id)
        before, _, after = statement.text.rpartition("ORDER BY")
        # Asked first and once, whatever there is in the page.
        sleeping = "CAST((SELECT pg_sleep(0.5)) AS text) = ''"
        statement.text = f"{before}WHERE {sleeping} ORDER BY{after}"
        return statement

    monkeypatch.setattr(search, "build", slower)
    monkeypatch.setattr(searches, "BRIEFLY", "50ms")
    return monkeypatch


def test_a_search_that_takes_too_long_is_too_broad(site: Site, slow: pytest.MonkeyPatch) -> None:
    assert site.get(BROAD).status_code == 200  # it had a second, longer try
    slow.setattr(searches, "AT_LENGTH", "50ms")
    refused = site.get(BROAD)
    assert refused.status_code == 413
    assert "too broad" in refused.text and "PatientComments" not in refused.text
    slow.undo()
    assert site.get(BROAD).status_code == 200  # the connection is as good as before


def test_broad_searches_do_not_wait_for_each_other(site: Site, slow: pytest.MonkeyPatch) -> None:
    with searches._broad:  # another one has its turn
        refused = site.get(BROAD)
    assert refused.status_code == 503
    assert "Retry-After" in refused.headers
    assert site.get(BROAD).status_code == 200

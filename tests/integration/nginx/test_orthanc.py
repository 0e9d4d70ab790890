"""Orthanc's REST API as its clients see it: pyorthanc, nginx, the function, PostgreSQL."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator

import httpx
import pydicom
import pyorthanc
import pytest
from werkzeug.serving import make_server

from functions.orthanc.index import Holdings
from pacsless.archive import Archive
from pacsless.archive.files import FileArchive
from pacsless.cache import Cache
from pacsless.resources import override
from pacsless.settings import Settings
from tests.dicom_files import BUNDLED
from tests.nginx import HTTP, Front
from tests.orthanc import CT, CT_PATIENT, CT_SERIES, CT_STUDY, FILES, Site
from tests.services import PostgresServer, app_of

TENANT = "orthanc-1"
ROOTS = (f"/tenants/{TENANT}/orthanc", f"/tenants/{TENANT}/dicom-web/orthanc")
CONTENT = BUNDLED["CT_small.dcm"].read_bytes()


@pytest.fixture(scope="module")
def front(
    start: Callable[[dict[str, str]], Front],
    functions: dict[str, str],
    postgres: PostgresServer,
) -> Iterator[Front]:
    server = make_server("127.0.0.1", 0, app_of("orthanc"), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    front = start({**functions, "ORTHANC": f"127.0.0.1:{server.server_port}"})
    site = Site(FileArchive(front.access_log.parent / "archive"), postgres.settings)
    holdings = Holdings.on(site.database, site.archive, site.settings)
    resources = {
        Archive: site.archive, Settings: site.settings, Cache: Cache(), Holdings: holdings,
    }  # fmt: skip
    with override(resources):
        site.put(*FILES, tenant=TENANT)
        yield front
    server.shutdown()
    server.server_close()
    site.database.close()


@pytest.fixture(scope="module")
def client(front: Front) -> Iterator[pyorthanc.Orthanc]:
    with pyorthanc.Orthanc(front.url + ROOTS[0]) as made:
        yield made


def test_pyorthanc_walks_from_patients_to_instances(client: pyorthanc.Orthanc) -> None:
    patient = pyorthanc.Patient(CT_PATIENT, client)
    assert CT_PATIENT in client.get_patients()
    assert (patient.name, patient.patient_id, patient.sex) == ("CompressedSamples^CT1", "1CT1", "O")
    (study,) = patient.studies
    assert (study.id_, study.description, study.labels) == (CT_STUDY, "e+1", [])
    assert study.date.isoformat() == "2004-01-19T07:27:30"
    assert study.parent_patient == patient
    (series,) = study.series
    assert (series.id_, series.modality, series.series_number) == (CT_SERIES, "CT", 1)
    assert series.parent_study == study
    (instance,) = series.instances
    assert instance.parent_series == series
    assert instance.image_position_patient == [-158.135803, -179.035797, -75.699997]
    assert (instance.instance_number, instance.file_size) == (1, len(CONTENT))
    assert instance.creation_date.isoformat() == "2004-01-19T07:27:31"
    assert not patient.is_stable


def test_pyorthanc_retrieves(client: pyorthanc.Orthanc) -> None:
    instance = pyorthanc.Instance(CT, client)
    assert instance.get_dicom_file_content() == CONTENT
    held = io.BytesIO()
    instance.download(held)
    assert held.getvalue() == CONTENT
    assert instance.get_pydicom() == pydicom.dcmread(io.BytesIO(CONTENT))
    assert instance.simplified_tags["StationName"] == "CT01_OC0"
    assert instance.tags["0028,0010"]["Value"] == "128"
    assert instance.get_content_by_tag("PatientID") == "1CT1"
    assert instance.get_content_by_tag("0010-1002/1/0010-0020") == "1234ABCD"
    for resource in (
        pyorthanc.Patient(CT_PATIENT, client),
        pyorthanc.Study(CT_STUDY, client),
        pyorthanc.Series(CT_SERIES, client),
    ):
        with zipfile.ZipFile(io.BytesIO(resource.get_zip())) as made:
            assert [made.read(name) for name in made.namelist()] == [CONTENT]
        held = io.BytesIO()
        resource.download(held)
        assert zipfile.ZipFile(held).testzip() is None


def test_pyorthanc_finds(client: pyorthanc.Orthanc) -> None:
    assert pyorthanc.find_patients(client, {"PatientID": "1CT1"})[0].id_ == CT_PATIENT
    found = pyorthanc.find_studies(client, {"PatientName": "compressed*"}, limit=1)
    assert {one.id_ for one in found} > {CT_STUDY}
    assert pyorthanc.find_series(client, {"Modality": "CT"})[0].id_ == CT_SERIES
    assert pyorthanc.find_instances(client, {"PatientID": "1CT1"}, labels=["x"]) == []
    assert client.post_tools_lookup("1CT1")[0]["ID"] == CT_PATIENT
    (patient,) = pyorthanc.find(client, series_filter=lambda series: series.modality == "MR")
    assert patient.patient_id == "4MR1"


def test_pyorthanc_looks_about(client: pyorthanc.Orthanc) -> None:
    assert client.get_system()["ApiVersion"] >= 27
    assert client.get_statistics()["CountInstances"] == len(FILES)
    assert client.get_changes()["Done"] is True
    assert client.get_instances_id_metadata(CT)
    for call in (lambda: client.get_patients_id("x"), lambda: client.delete_studies_id(CT_STUDY)):
        with pytest.raises(httpx.HTTPError):
            call()


@pytest.mark.parametrize("root", ROOTS)
def test_every_address_of_the_api(front: Front, root: str) -> None:
    whole = front.get(f"{root}/instances/{CT}/file")
    assert (whole.status, whole.data) == (200, CONTENT)
    assert whole.headers["Content-Disposition"] == f'filename="{CT}.dcm"'
    assert "ETag" in whole.headers and "X-Accel-Redirect" not in whole.headers
    part = front.get(f"{root}/instances/{CT}/file", Range="bytes=128-131")
    assert (part.status, part.data) == (206, b"DICM")
    assert front.get(f"{root}/series/", "HEAD").status == 200
    body = json.dumps({"Level": "Series", "Query": {"Modality": "CT"}}).encode()
    found = HTTP.request("POST", f"{front.url}{root}/tools/find", body=body)
    assert found.json() == [CT_SERIES]


def test_what_changes_things_is_refused(front: Front) -> None:
    for method, path in (
        ("DELETE", f"/studies/{CT_STUDY}"), ("PUT", f"/studies/{CT_STUDY}/labels/x"),
        ("POST", f"/studies/{CT_STUDY}/anonymize"), ("POST", f"/instances/{CT}/modify"),
        ("DELETE", "/changes"), ("POST", "/modalities/x/store"), ("PUT", "/tools/find"),
    ):  # fmt: skip
        answer = front.get(ROOTS[0] + path, method)
        assert answer.status == 405, path
        assert answer.data.endswith(b".\n")
        assert answer.headers["Allow"]
    for path in ("/tools/shutdown", "/tools/execute-script"):
        assert HTTP.request("POST", f"{front.url}{ROOTS[0]}{path}", body=b"x").status == 405
    for path in ("/orthanc", "/orthanc/", "/orthancs/system", "/tenants/North/orthanc/system"):
        assert front.get(path).status == 404
    body = b"x" * 100_000
    for path in ("/tools/find", "/tools/lookup"):
        assert HTTP.request("POST", f"{front.url}{ROOTS[0]}{path}", body=body).status == 413


def test_no_log_has_an_id(front: Front) -> None:
    answers = [
        front.get(f"{root}{path}")
        for root in ROOTS
        for path in (f"/patients/{CT_PATIENT}?x={CT_PATIENT}", "/system", "/nothing")
    ]
    lines = front.logged(*answers)
    assert [one["path"] for one in lines] == [root for root in ROOTS for _ in range(3)]
    assert CT_PATIENT not in front.access_log.read_text()
    assert CT_PATIENT not in front.error_log.read_text()

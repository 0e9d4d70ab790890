"""C-STORE in by DCMTK, DICOMweb out by dicomweb-client: the same bytes."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import pydicom
import pytest
import urllib3
from dicomweb_client.api import DICOMwebClient
from pydicom.data import get_testdata_file

from tests.eventually import eventually
from tests.gateway import data_set
from tests.ports import free_ports

STORESCU = "/usr/bin/storescu"
HTTP = urllib3.PoolManager()

# File, and the option that makes storescu propose its transfer syntax.
FILES = {
    "CT_small.dcm": "-xe",
    "MR_small.dcm": "-xe",
    "ExplVR_BigEnd.dcm": "-xb",
    "image_dfl.dcm": "-xd",
    "rtplan.dcm": "-xi",
    "SC_rgb_rle.dcm": "-xr",
    "SC_rgb_jpeg_dcmtk.dcm": "-xy",
    "JPEG2000.dcm": "-xw",
    "test-SR.dcm": "-xe",
}


def path_of(name: str) -> Path:
    found = get_testdata_file(name)
    assert isinstance(found, str)
    return Path(found)


def store(port: int, option: str, *paths: Path) -> None:
    subprocess.run(
        [STORESCU, option, "-aec", "PACSLESS", "127.0.0.1", str(port), *map(str, paths)],
        check=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def on_the_wire(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Data sets as storescu really sends them, kept by DCMTK's own bit-preserving receiver.

    storescu parses a file and writes it again, so its bytes are not always the file's.
    """
    (port,) = free_ports(1)
    found = {}
    for name, option in FILES.items():
        folder = tmp_path_factory.mktemp("storescp")
        with subprocess.Popen(
            ["/usr/bin/storescp", "--bit-preserving", "+xa", "-od", str(folder), str(port)]
        ) as receiver:
            try:
                eventually(lambda: accepts(port))
                store(port, option, path_of(name))
            finally:
                receiver.terminate()
        (file,) = folder.iterdir()
        found[name] = data_set(file.read_bytes())
    return found


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def sent(stack: Any) -> dict[str, pydicom.Dataset]:
    found = {}
    for name, option in FILES.items():
        store(stack.dicom_port, option, path_of(name))
        found[name] = pydicom.dcmread(path_of(name))
    return found


def instance_url(stack: Any, ds: pydicom.Dataset) -> str:
    return (
        f"{stack.url}/dicom-web/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
        f"/instances/{ds.SOPInstanceUID}"
    )


@pytest.mark.parametrize("name", FILES)
def test_the_data_set_comes_back_byte_for_byte(
    stack: Any, sent: dict[str, pydicom.Dataset], on_the_wire: dict[str, bytes], name: str
) -> None:
    url = instance_url(stack, sent[name])
    single = HTTP.request("GET", url, headers={"Accept": "application/dicom"})
    assert single.status == 200, single.data
    syntax = sent[name].file_meta.TransferSyntaxUID
    assert single.headers["Content-Type"] == f"application/dicom; transfer-syntax={syntax}"
    original = on_the_wire[name]
    assert data_set(single.data) == original

    several = HTTP.request(
        "GET", url, headers={"Accept": 'multipart/related; type="application/dicom"'}
    )
    assert several.status == 200, several.data
    boundary = several.headers["Content-Type"].partition("boundary=")[2].strip('"')
    part = several.data.split(f"--{boundary}".encode())[1]
    assert data_set(part.partition(b"\r\n\r\n")[2][:-2]) == original


def test_dicomweb_client_searches_and_reads(stack: Any, sent: dict[str, pydicom.Dataset]) -> None:
    client = DICOMwebClient(f"{stack.url}/dicom-web")
    ct = sent["CT_small.dcm"]
    uids = (ct.StudyInstanceUID, ct.SeriesInstanceUID, ct.SOPInstanceUID)

    def indexed() -> list[dict[str, Any]]:
        return client.search_for_studies(search_filters={"StudyInstanceUID": uids[0]})

    (study,) = eventually(indexed)
    assert study["00100020"]["Value"] == [ct.PatientID]
    assert client.search_for_studies(search_filters={"PatientName": "CompressedSamples*"})
    (series,) = client.search_for_series(uids[0])
    assert series["00080060"]["Value"] == ["CT"]
    (instance,) = client.search_for_instances(uids[0], uids[1])
    assert instance["00080018"]["Value"] == [uids[2]]

    (metadata,) = client.retrieve_series_metadata(*uids[:2])
    assert metadata["00280010"]["Value"] == [ct.Rows]
    assert client.retrieve_instance_metadata(*uids)["00080018"]["Value"] == [uids[2]]
    assert len(client.retrieve_study_metadata(uids[0])) == 1

    (frame,) = client.retrieve_instance_frames(
        *uids, [1], media_types=(("application/octet-stream", "*"),)
    )
    assert frame == ct.PixelData
    returned = client.retrieve_instance(*uids)
    assert returned.PixelData == ct.PixelData


def test_a_reader_never_waits_for_the_index(stack: Any) -> None:
    """What is acknowledged can be read at once (DECISIONS, "Freshness by listing")."""
    path = path_of("693_J2KI.dcm")
    ds = pydicom.dcmread(path)
    store(stack.dicom_port, "-xw", path)
    url = instance_url(stack, ds)
    assert HTTP.request("GET", url, headers={"Accept": "application/dicom"}).status == 200
    metadata = HTTP.request("GET", f"{url.rpartition('/instances')[0]}/metadata")
    assert metadata.status == 200
    assert [one["00080018"]["Value"][0] for one in metadata.json()] == [ds.SOPInstanceUID]


def test_the_change_feed_tells_what_was_sent(stack: Any, sent: dict[str, pydicom.Dataset]) -> None:
    seen: list[dict[str, Any]] = []

    def everything() -> bool:
        asked = {"offset": len(seen), "limit": 5}
        seen.extend(HTTP.request("GET", f"{stack.url}/dicom-web/changefeed", fields=asked).json())
        assert {one.SOPInstanceUID for one in sent.values()} <= set(_created(seen))
        return True

    eventually(everything)
    assert [one["sequence"] for one in seen] == list(range(1, len(seen) + 1))
    which = ("studyInstanceUid", "seriesInstanceUid", "sopInstanceUid", "action")
    first = {tuple(one[name] for name in which) for one in seen if one["action"] == "create"}
    assert len(first) == len(_created(seen))
    ct = sent["CT_small.dcm"]
    entry = [one for one in seen if one["sopInstanceUid"] == ct.SOPInstanceUID][-1]
    assert entry["state"] == "current"
    assert HTTP.request("GET", f"{instance_url(stack, ct)}/metadata").json() == [entry["metadata"]]
    elsewhere = HTTP.request("GET", f"{stack.url}/tenants/elsewhere/dicom-web/changefeed")
    assert elsewhere.json() == []


def _created(entries: list[dict[str, Any]]) -> list[str]:
    return [one["sopInstanceUid"] for one in entries if one["action"] == "create"]


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/dicom-web/studies/1.2.3/series/4.5.6/instances/7.8.9", "application/dicom", 404),
        ("/dicom-web/studies/1.2.3/metadata", "application/dicom+json", 404),
        ("/dicom-web/studies/not-a-uid/metadata", "*/*", 400),
        ("/dicom-web/studies/1.2.3%2f..%2f..%2fetc/metadata", "*/*", 404),
        ("/dicom-web/nothing", "*/*", 404),
        ("/dicom-web/studies", "text/html", 406),
        ("/tenants/NOBODY/dicom-web/studies", "*/*", 404),
    ],
)
def test_what_cannot_be_answered_is_said_in_a_sentence(
    stack: Any, path: str, accept: str, status: int
) -> None:
    answer = HTTP.request("GET", stack.url + path, headers={"Accept": accept})
    assert answer.status == status, answer.data
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert 0 < len(answer.data) < 300 and b"<html" not in answer.data.lower()


def test_another_tenant_sees_nothing(stack: Any, sent: dict[str, pydicom.Dataset]) -> None:
    ct = instance_url(stack, sent["CT_small.dcm"])
    here = ct.replace("/dicom-web/", "/tenants/elsewhere/dicom-web/")
    nowhere = here.replace(sent["CT_small.dcm"].SOPInstanceUID, "1.2.3.4")
    answers = [
        HTTP.request("GET", url + end, headers={"Accept": accept, "X-Pacsless-Tenant": "default"})
        for url in (here, nowhere)
        for end, accept in (
            ("", "application/dicom"),
            ("/metadata", "application/dicom+json"),
            ("/frames/1", "*/*"),
            ("/bulkdata/7FE00010", "*/*"),
        )
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({answer.data for answer in answers[:4]} | {a.data for a in answers[4:]}) <= 4
    studies = HTTP.request("GET", f"{stack.url}/tenants/elsewhere/dicom-web/studies")
    assert studies.status == 204 or studies.json() == []

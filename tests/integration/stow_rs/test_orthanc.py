"""Orthanc's way to store an instance, and pyorthanc that goes it."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pydicom
import pyorthanc
import pytest

from tests.dicom_files import BUNDLED
from tests.instances import encode, make_dataset
from tests.orthanc import CT, CT_PATIENT, CT_SERIES, CT_STUDY
from tests.stow import Stow

DICOM = "application/dicom"
CONTENT = BUNDLED["CT_small.dcm"].read_bytes()
# As Orthanc answers of the same file.
TOLD = {
    "ID": CT, "ParentPatient": CT_PATIENT, "ParentSeries": CT_SERIES, "ParentStudy": CT_STUDY,
    "Path": f"/instances/{CT}", "Status": "Success",
}  # fmt: skip


def test_an_instance_is_stored_once(stow: Stow) -> None:
    before = stow.stored()
    first = stow.post(CONTENT, DICOM, "/tenants/once/orthanc/instances")
    assert (first.status, first.json()) == (200, TOLD), first.data
    again = stow.post(gzip.compress(CONTENT), "x/y", "/tenants/once/orthanc/instances/",
                      Content_Encoding="gzip")  # fmt: skip
    assert (again.status, again.json()) == (200, TOLD | {"Status": "AlreadyStored"})
    (key,) = stow.stored().keys() - before.keys()
    assert key.startswith("once/") and stow.stored()[key] == CONTENT
    events = [one for one in stow.events() if one.tenant_id == "once"]
    assert {(one.via, one.sop_instance_uid) for one in events} == {
        ("STOW-RS", "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322")
    }


def test_below_the_root_of_dicomweb(stow: Stow) -> None:
    for path in ("/orthanc/instances", "/dicom-web/orthanc/instances"):
        one = encode(make_dataset())
        answer = stow.post(one, DICOM, path)
        assert (answer.status, answer.json()["Status"]) == (200, "Success")
        assert one in stow.stored().values()


def test_other_content_is_refused(stow: Stow) -> None:
    one = make_dataset()
    assert stow.post(encode(one), DICOM, "/orthanc/instances").status == 200
    one.PatientName = "Somebody^Else"
    refused = stow.post(encode(one), DICOM, "/orthanc/instances")
    assert refused.status == 409
    assert b"other content" in refused.data and b"Somebody" not in refused.data


@pytest.mark.parametrize(
    "body",
    [b"", b"abc", b"PK\3\4" + bytes(300), bytes(132), CONTENT[:2000], bytes(128) + b"DICM"],
    ids=len,
)
def test_what_is_no_instance(stow: Stow, body: bytes) -> None:
    before = stow.stored()
    answer = stow.post(body, DICOM, "/orthanc/instances")
    assert answer.status == 400, answer.data
    assert answer.data.endswith(b".\n")
    assert stow.stored() == before


def test_bodies_that_cannot_be_decoded(stow: Stow) -> None:
    answer = stow.post(CONTENT, DICOM, "/orthanc/instances", Content_Encoding="br")
    assert answer.status == 415
    answer = stow.post(b"no gzip", DICOM, "/orthanc/instances", Content_Encoding="gzip")
    assert answer.status == 400


def test_pyorthanc_uploads(stow: Stow, tmp_path: Path) -> None:
    client = pyorthanc.Orthanc(f"{stow.front.url}/orthanc")
    one = encode(make_dataset())
    (tmp_path / "one.dcm").write_bytes(one)
    (instance,) = pyorthanc.upload(client, str(tmp_path / "one.dcm"))
    made = pydicom.dcmread(io.BytesIO(one))
    assert instance.id_ == pyorthanc.util.to_orthanc_instance_id_from_ds(made)
    assert one in stow.stored().values()
    client.close()

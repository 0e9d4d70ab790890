"""Instances by Orthanc's ids: files, tags, content, frames, pictures and archives."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.errors import InvalidDicomError

from functions.orthanc.archives import zipped
from functions.orthanc.index import Holdings
from functions.orthanc.levels import Level
from pacsless import resources
from pacsless.errors import PacslessError
from pacsless.orthanc_ids import orthanc_id
from tests.dicom_files import BUNDLED, bundled
from tests.instances import encode, make_dataset, new_tenant
from tests.orthanc import CT, CT_PATIENT, CT_SERIES, CT_STUDY, FILES, Site

CONTENT = BUNDLED["CT_small.dcm"].read_bytes()
SR = "bec56f6c-86f24cbb-957f6310-17b41048-4cd975f3"
PLAN = "ff4ab066-ea24d22c-6206dcd5-9d5328b7-32783890"


def test_the_file_is_as_it_was_received(site: Site) -> None:
    answer = site.get(f"/instances/{CT}/file")
    assert (answer.status_code, answer.data) == (200, CONTENT)
    assert answer.content_type == "application/dicom"
    assert answer.headers["Content-Disposition"] == f'filename="{CT}.dcm"'
    part = site.get(f"/instances/{CT}/file", Range="bytes=128-131")
    assert (part.status_code, part.data) == (206, b"DICM")
    sent = site.get(f"/instances/{CT}/file", **{"X-Pacsless-Accel": "1"})
    assert sent.headers["X-Accel-Redirect"].startswith(f"/internal/archive/{site.tenant}/1.3.6")


# What Orthanc tells of the same file.
TAGS = {
    "0008,0008": {"Name": "ImageType", "Type": "String", "Value": "ORIGINAL\\PRIMARY\\AXIAL"},
    "0008,0016": {"Name": "SOPClassUID", "Type": "String", "Value": "1.2.840.10008.5.1.4.1.1.2"},
    "0008,0050": {"Name": "AccessionNumber", "Type": "String", "Value": ""},
    "0010,1002": {
        "Name": "OtherPatientIDsSequence",
        "Type": "Sequence",
        "Value": [
            {
                "0010,0020": {"Name": "PatientID", "Type": "String", "Value": value},
                "0010,0022": {"Name": "TypeOfPatientID", "Type": "String", "Value": "TEXT"},
            }
            for value in ("ABCD1234", "1234ABCD")
        ],
    },
    "0018,0050": {"Name": "SliceThickness", "Type": "String", "Value": "5.000000"},
    "0020,0032": {
        "Name": "ImagePositionPatient",
        "Type": "String",
        "Value": "-158.135803\\-179.035797\\-75.699997",
    },
    "0028,0010": {"Name": "Rows", "Type": "String", "Value": "128"},
    "0043,0010": {"Name": "PrivateCreator", "Type": "String", "Value": "GEMS_PARM_01"},
    "0043,1010": {
        "Name": "WindowValue",
        "PrivateCreator": "GEMS_PARM_01",
        "Type": "String",
        "Value": "400",
    },
    "0043,1040": {
        "Name": "TriggerOnPosition",
        "PrivateCreator": "GEMS_PARM_01",
        "Type": "String",
        "Value": "178.07992553710938",
    },
    "7fe0,0010": {"Name": "PixelData", "Type": "Null", "Value": None},
}


def test_tags(site: Site) -> None:
    found = site.json(f"/instances/{CT}/tags")
    assert {tag: found[tag] for tag in TAGS} == TAGS
    assert list(found) == sorted(found)
    short = site.json(f"/instances/{CT}/tags?short")
    assert short.keys() == found.keys()
    assert short["0010,1002"][1] == {"0010,0020": "1234ABCD", "0010,0022": "TEXT"}
    simplified = site.json(f"/instances/{CT}/simplified-tags")
    assert simplified == site.json(f"/instances/{CT}/tags?simplify")
    assert simplified["PatientName"] == "CompressedSamples^CT1"
    assert simplified["PixelData"] is None
    assert site.json(f"/instances/{SR}/simplified-tags")["ContentSequence"][0]["UID"] == "1.2.3.4.5"


def test_long_values_and_other_scripts(site: Site) -> None:
    tenant = new_tenant()
    one = make_dataset(PatientName="山田^太郎", ImageComments="x" * 257, StudyDescription="y" * 256)
    site.add(one, tenant=tenant)
    (identifier,) = site.json("/instances", tenant)
    found = site.json(f"/instances/{identifier}/tags", tenant)
    assert found["0010,0010"]["Value"] == "山田^太郎"
    assert found["0020,4000"] == {"Name": "ImageComments", "Type": "TooLong", "Value": None}
    assert found["0008,1030"]["Value"] == "y" * 256


def test_content(site: Site) -> None:
    root = f"/instances/{CT}/content"
    whole = site.json(root)
    assert "0010-1002" in whole and "7fe0-0010" in whole
    assert site.json(f"{root}/0010-1002") == ["0", "1"]
    assert site.json(f"{root}/OtherPatientIDsSequence/1") == ["0010-0020", "0010-0022"]
    for path, value in (
        ("0010-0010", b"CompressedSamples^CT1 "), ("0010,0010", b"CompressedSamples^CT1 "),
        ("PatientName", b"CompressedSamples^CT1 "), ("0010-1002/0/PatientID", b"ABCD1234"),
        ("0028-0010", b"\x80\0"), ("PixelData", pydicom.dcmread(BUNDLED["CT_small.dcm"]).PixelData),
    ):  # fmt: skip
        answer = site.get(f"{root}/{path}")
        assert (answer.status_code, answer.data) == (200, value), path
        assert answer.content_type == "application/octet-stream"
    for path in (
        "9999-0010", "nope", "0010-1002/2", "0010-1002/x", "0010-1002/0/0010-0010",
        "0010-0010/0", "0010-1002/0/nope", "0/0010-0010", "/".join(["0010-1002", "0"] * 100),
    ):  # fmt: skip
        assert site.get(f"{root}/{path}").status_code == 404, path


def picture(site: Site, path: str, kind: str = "PNG", **headers: str) -> Image.Image:
    answer = site.get(path, **headers)
    assert answer.status_code == 200, answer.text
    assert answer.content_type == f"image/{kind.lower()}"
    found = Image.open(io.BytesIO(answer.data))
    assert found.format == kind
    return found


def test_pictures(site: Site) -> None:
    root = f"/instances/{CT}"
    shown = np.asarray(picture(site, f"{root}/preview"))
    assert shown.shape == (128, 128)
    assert shown.min() < 40 and shown.max() > 200
    for path in ("rendered", "frames/0/preview", "frames/0/rendered"):
        assert np.array_equal(np.asarray(picture(site, f"{root}/{path}")), shown)
    picture(site, f"{root}/preview", "JPEG", Accept="image/jpeg")
    assert picture(site, f"{root}/rendered?width=64").size == (64, 64)
    dark = picture(site, f"{root}/rendered?window-center=9000&window-width=10")
    assert np.asarray(dark).max() == 0
    for query in ("width=x", "height=99999", "window-center=1", "window-width=0&window-center=1"):
        assert site.get(f"{root}/rendered?{query}").status_code == 400, query
    assert site.get(f"{root}/preview", Accept="image/webp").status_code == 406
    for frame in ("1", "x", "-1", "9" * 20):
        for kind in ("preview", "rendered", "raw"):
            assert site.get(f"{root}/frames/{frame}/{kind}").status_code == 404
    assert site.get(f"/instances/{PLAN}/preview").status_code == 404


def test_frames(site: Site) -> None:
    tenant = new_tenant()
    pixels = bytes(range(24))
    site.add(make_dataset(pixels, NumberOfFrames=3), tenant=tenant)
    (identifier,) = site.json("/instances", tenant)
    root = f"/instances/{identifier}/frames"
    assert site.json(root, tenant) == [0, 1, 2]
    for number in range(3):
        answer = site.get(f"{root}/{number}/raw", tenant)
        assert answer.data == pixels[number * 8 : number * 8 + 8]
    assert site.get(f"{root}/3/raw", tenant).status_code == 404
    assert site.json(f"/instances/{PLAN}/frames") == []


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.name)
def test_whatever_is_stored_is_told_or_refused(site: Site, path: Any) -> None:
    tenant = new_tenant()
    try:
        site.put(path.name, tenant=tenant)
    except (PacslessError, AttributeError, InvalidDicomError):
        pytest.skip("it is not stored")
    for identifier in site.json("/instances", tenant):
        root = f"/instances/{identifier}"
        assert site.get(f"{root}/file", tenant).data == path.read_bytes()
        for kind in ("", "/tags", "/simplified-tags", "/content", "/series", "/frames"):
            json.loads(site.get(f"{root}{kind}", tenant).data)
        for tag in site.json(f"{root}/content", tenant):
            assert site.get(f"{root}/content/{tag}", tenant).status_code in (200, 404, 406), tag
        assert site.get(f"{root}/preview", tenant).status_code in (200, 400, 404, 406)
        assert site.get(f"{root}/frames/0/raw", tenant).status_code in (200, 404, 406)


@pytest.mark.parametrize(
    "path", [f"patients/{CT_PATIENT}", f"studies/{CT_STUDY}", f"series/{CT_SERIES}"]
)
def test_archives(site: Site, path: str) -> None:
    answer = site.get(f"/{path}/archive")
    assert answer.status_code == 200
    assert answer.content_type == "application/zip"
    identifier = path.rpartition("/")[2]
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{identifier}.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.data)) as found:
        assert found.testzip() is None
        # The name that Orthanc gives to the same file.
        name = "1CT1 CompressedSamples CT1/e1/CT/CT000001.dcm"
        assert found.namelist() == [name]
        assert found.read(name) == CONTENT


def test_files_of_an_archive_have_names_of_their_own(site: Site) -> None:
    tenant, study = new_tenant(), "1.2.3"
    made = {}
    for series in ("1.2.3.1", "1.2.3.2", "1.2.3.3"):
        for number in range(3):
            one = make_dataset(
                StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=number,
                PatientName="../..^a/b", PatientID="..", SeriesDescription="\\x",
            )  # fmt: skip
            site.add(one, tenant=tenant)
            made[str(one.SOPInstanceUID)] = encode(one)
    answer = site.get(f"/studies/{orthanc_id('..', study)}/archive", tenant)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as found:
        names = found.namelist()
        assert len(set(names)) == len(names) == 9
        assert {found.read(name) for name in names} == set(made.values())
    for name in names:
        assert ".." not in name and "\\" not in name and not name.startswith("/")
        assert name.count("/") == 3


def test_an_archive_passes_through_memory_piece_by_piece(site: Site) -> None:
    tenant, pixels = new_tenant(), bytes(16 << 20)
    for _ in range(3):
        big = make_dataset(pixels, StudyInstanceUID="1.9", Rows=4096, Columns=2048)
        site.add(big, tenant=tenant)
    index = resources.get(Holdings).of(tenant)
    found = index.find(Level.STUDY, orthanc_id("P-1", "1.9"))
    tracemalloc.start()
    try:
        length = sum(map(len, zipped(site.archive, index.files(found))))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert length > 3 * len(pixels)
    assert peak < 4 << 20


def test_an_archive_goes_on_where_a_file_is_gone(site: Site) -> None:
    tenant = new_tenant()
    pair = [make_dataset(StudyInstanceUID="1.8", SOPInstanceUID=f"1.8.{one}") for one in (1, 2)]
    site.add(*pair, tenant=tenant)
    gone = f"{tenant}/1.8/{pair[0].SeriesInstanceUID}/1.8.1.dcm"
    site.archive.remove(gone)
    answer = site.get(f"/studies/{orthanc_id('P-1', '1.8')}/archive", tenant)
    with zipfile.ZipFile(io.BytesIO(answer.data)) as found:
        assert [found.read(name) for name in found.namelist()] == [encode(pair[1])]


def test_all_files_are_told_of(site: Site) -> None:
    names = set()
    for identifier in site.json("/patients"):
        with zipfile.ZipFile(io.BytesIO(site.get(f"/patients/{identifier}/archive").data)) as found:
            names |= {found.read(name) for name in found.namelist()}
    assert names == {BUNDLED[name].read_bytes() for name in FILES}

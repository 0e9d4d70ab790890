"""Every BulkDataURI is answered."""

from __future__ import annotations

import struct
from pathlib import Path

import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
)

from pacsless.identity import InstanceIdentity
from tests.dicom_files import bundled
from tests.instances import encode, make_dataset, store_bytes
from tests.wado import FRAMES, Pacs, document, parts, uris


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.name)
def test_every_bulk_data_uri_is_answered(pacs: Pacs, path: Path) -> None:
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    store_bytes(pacs.archive, identity, path.read_bytes(), "")
    response = pacs.get(f"{identity.subject}/metadata")
    if response.status_code == 500:
        pytest.skip("cannot be read as DICOM")
    for uri in uris(document(response)):
        assert uri.startswith(f"/dicom-web/{identity.subject}/bulkdata/")
        found = pacs.get(uri.removeprefix("/dicom-web/"), "*/*")
        if "truncated" in path.name:
            assert found.status_code == 500
            assert found.text == "The stored file ends inside the value.\n"
            continue
        assert found.status_code == 200, (uri, found.text)
        assert parts(found)


def test_nested_words_of_a_big_endian_file_come_little_endian(pacs: Pacs) -> None:
    ds = make_dataset()
    item = pydicom.Dataset()
    item.add_new(0x54001010, "OW", struct.pack(">1000H", *range(1000)))
    ds.WaveformSequence = [item]
    identity = pacs.store(encode(ds, ExplicitVRBigEndian))
    path = f"{identity.subject}/bulkdata/54000100/0/54001010"
    response = pacs.get(path, "application/octet-stream")
    assert response.data == struct.pack("<1000H", *range(1000))
    part = pacs.get(path, "application/octet-stream", Range="bytes=2-5")
    assert part.status_code == 206
    assert part.headers["Content-Range"] == "bytes 2-5/2000"
    assert part.data == struct.pack("<2H", 1, 2)
    assert pacs.get(path, "application/octet-stream", Range="bytes=9000-").status_code == 416
    whole = pacs.get(path, "application/octet-stream", Range="bytes=2-5", If_Range='"another"')
    assert (whole.status_code, whole.data) == (200, response.data)
    tag = response.headers["ETag"]
    again = pacs.get(path, "application/octet-stream", If_None_Match=tag)
    assert (again.status_code, again.data) == (304, b"")
    part = pacs.get(path, "application/octet-stream", Range="bytes=2-5", If_Range=tag)
    assert (part.status_code, part.data) == (206, response.data[2:6])


def test_documents_come_under_their_own_type_if_it_is_harmless(pacs: Pacs) -> None:
    pdf = b"%PDF-1.7" + b"x" * 3000
    stored = {}
    for media_type in ("application/pdf", "text/html"):
        ds = make_dataset(MIMETypeOfEncapsulatedDocument=media_type, EncapsulatedDocument=pdf)
        stored[media_type] = f"{pacs.store(encode(ds)).subject}/bulkdata/00420011"
    response = pacs.get(f"{stored['application/pdf']}?accept=application/pdf", "text/html")
    assert response.headers["Content-Type"] == "application/pdf"
    assert response.data == pdf
    assert pacs.get(stored["text/html"], "text/html").status_code == 406
    assert pacs.get(stored["text/html"], "application/octet-stream").data == pdf


def test_a_video_is_read_by_ranges(pacs: Pacs) -> None:
    stream = bytes(range(256)) * 40
    ds = make_dataset(NumberOfFrames=25, BitsAllocated=8, BitsStored=8, HighBit=7)
    ds.PixelData = encapsulate([stream], 3)
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    identity = pacs.store(encode(ds, "1.2.840.10008.1.2.4.102"))
    [uri] = uris(document(pacs.get(f"{identity.subject}/metadata")))
    path = f"{uri.removeprefix('/dicom-web/')}?accept=video/mp4"
    whole = pacs.get(path, "text/html")
    assert whole.headers["Content-Type"] == "video/mp4; transfer-syntax=1.2.840.10008.1.2.4.102"
    assert whole.data.rstrip(b"\0") == stream.rstrip(b"\0")
    part = pacs.get(path, Range="bytes=3400-6900")  # across the seams of fragments
    assert part.status_code == 206
    assert part.data == stream[3400:6901]
    refused = pacs.get(f"{identity.subject}/frames/1", FRAMES)
    assert refused.status_code == 406
    assert "video" in refused.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("7FE00010", 200), ("7fe00010", 200), ("00100010/0/00100010", 404), ("00090001", 404),
     ("x", 400), ("7FE00010/0", 400), ("7FE00010/0/", 400), ("../7FE00010", 400)],
)  # fmt: skip
def test_bulk_data_addresses(pacs: Pacs, path: str, status: int) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    assert pacs.get(f"{identity.subject}/bulkdata/{path}").status_code == status

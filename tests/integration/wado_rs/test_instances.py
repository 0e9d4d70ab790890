"""Studies, series and instances come back as they were sent."""

from __future__ import annotations

import io
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from pacsless.dicom.part10 import split_part10
from pacsless.identity import InstanceIdentity
from tests.dicom_files import bundled
from tests.instances import encode, make_dataset, store_bytes
from tests.wado import Pacs, parts


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.name)
def test_every_file_comes_back_as_it_was(pacs: Pacs, path: Path) -> None:
    content = path.read_bytes()
    file = io.BytesIO(content)
    syntax = split_part10(file).transfer_syntax
    identity = InstanceIdentity("default", "1.2", "1.2.3", "1.2.3.4")
    store_bytes(pacs.archive, identity, content, syntax)
    [(headers, body)] = parts(
        pacs.get(identity.subject, 'multipart/related; type="application/dicom"')
    )
    assert body == content
    assert headers["Content-Type"] == f"application/dicom; transfer-syntax={syntax}"
    assert headers["Content-Location"] == f"/dicom-web/{identity.subject}"
    single = pacs.get(identity.subject, "application/dicom")
    assert single.data == content
    assert single.headers["Content-Type"] == f"application/dicom; transfer-syntax={syntax}"


def test_studies_and_series_are_multipart(pacs: Pacs) -> None:
    study = generate_uid()
    stored = {}
    for series in (generate_uid(), generate_uid()):
        for _ in range(3):
            data = encode(make_dataset(StudyInstanceUID=study, SeriesInstanceUID=series))
            stored[pacs.store(data)] = data
    pacs.put("CT_small.dcm")
    for accept in (None, "*/*", 'multipart/related; type="application/dicom"; transfer-syntax=*'):
        found = parts(pacs.get(f"studies/{study}", accept))
        assert {headers["Content-Location"]: body for headers, body in found} == {
            f"/dicom-web/{identity.subject}": data for identity, data in stored.items()
        }
    one = min(stored)
    found = parts(pacs.get(f"studies/{study}/series/{one.series_instance_uid}"))
    assert [body for _, body in found] == [
        data for identity, data in sorted(stored.items()) if identity.series == one.series
    ]


def test_mixed_transfer_syntaxes_are_each_named(pacs: Pacs) -> None:
    study = generate_uid()
    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian):
        pixels = b"\2\1" if syntax == ExplicitVRBigEndian else b"\1\2"
        pacs.store(encode(make_dataset(pixels * 4, StudyInstanceUID=study), syntax))
    found = {headers["Content-Type"] for headers, _ in parts(pacs.get(f"studies/{study}"))}
    assert len(found) == 3
    accept = (
        f'multipart/related; type="application/dicom"; transfer-syntax={ExplicitVRLittleEndian}'
    )
    for headers, body in parts(pacs.get(f"studies/{study}", accept)):
        assert headers["Content-Type"].endswith(f"={ExplicitVRLittleEndian}")
        ds = pydicom.dcmread(io.BytesIO(body))
        assert ds.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert ds.PixelData == b"\1\2" * 4
    compressed, _ = pacs.put("JPEG2000.dcm")
    refused = pacs.get(
        compressed.subject, f"application/dicom; transfer-syntax={ImplicitVRLittleEndian}"
    )
    assert refused.status_code == 406
    assert "1.2.840.10008.1.2.4.91" in refused.text


def test_a_single_part_honours_range(pacs: Pacs) -> None:
    identity, content = pacs.put("CT_small.dcm")
    response = pacs.get(identity.subject, "application/dicom", Range="bytes=100-299")
    assert response.status_code == 206
    assert response.data == content[100:300]


def test_behind_nginx_files_are_named_and_not_read(pacs: Pacs) -> None:
    identity, _ = pacs.put("CT_small.dcm")
    response = pacs.get(identity.subject, "application/dicom", X_Pacsless_Accel="1")
    assert response.headers["X-Accel-Redirect"] == f"/internal/archive/{identity.key}"
    assert response.data == b""


def test_a_study_is_streamed(pacs: Pacs) -> None:
    study = generate_uid()
    for _ in range(4):
        pacs.store(encode(make_dataset(bytes(3 << 20), StudyInstanceUID=study)))
    response = pacs.client.get(f"/studies/{study}", buffered=False)
    sizes = [len(chunk) for chunk in response.iter_encoded()]
    response.close()
    assert sum(sizes) > 12 << 20
    assert max(sizes) <= 1 << 20
